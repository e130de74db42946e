"""Become a program that no other user of this machine can learn an access key from, and that can gain no rights.

`python -I sealed_start.py KEY_FILE PROGRAM ARGUMENT…`: where an argument has KEY in it, the program gets the key.

/proc/<pid>/cmdline is open to every user, and shows the text that the program was started with. The program itself
reads an array of pointers to its arguments. So it is started with arguments that lack the key, and stopped at its exec,
before its first instruction, by a process that traces it: that one turns the pointers to the whole arguments, which
stand in the environment, open to this user alone. There is no moment at which the key can be read. What inherits the
environment does not get them.

Where the tracing fails in between, the program is killed. Where tracing is not allowed at all, the key is on the
command line, and standard error says so. Triton takes no key from a file. Imports the standard library alone, since
NVIDIA's image has it as a script.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

# Stands for the key in an argument.
KEY = "{access-key}"
_VARIABLE = "SCHWIFT_SEALED_ARGUMENT_"
_READABLE = "the key of its control can be read on its command line: this machine lets no process trace its parent"

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long
_LIBC.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
# From <linux/ptrace.h>, <linux/prctl.h> and <linux/wait.h>.
_PTRACE_CONT, _PTRACE_DETACH, _PTRACE_SEIZE = 7, 17, 0x4206
_PTRACE_O_TRACEEXEC, _PTRACE_EVENT_EXEC = 0x10, 4
_PR_SET_NO_NEW_PRIVS, _PR_SET_PTRACER = 38, 0x59616D61
_WALL = 0x40000000
# From <linux/seccomp.h> and <linux/filter.h>; the flag leaves the processor as quick as it is.
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4
_SECCOMP_RET_ERRNO, _SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
_BPF_LOAD, _BPF_JUMP_IF_EQUAL, _BPF_RETURN = 0x20, 0x15, 0x06
# A field of /proc/<pid>/stat, counted from the state on.
_ARG_START = 45
_POINTER = 8
# What the kernel puts between the arrays of pointers and the texts: up to 8 KiB at random, and some 600 bytes.
_MARGIN = 16 * 1024


class _Machine(NamedTuple):
    """What the kernel calls a kind of processor, and the numbers that its calls have there."""

    architecture: int
    fchmod: int
    seccomp: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 91, 317), "aarch64": _Machine(0xC00000B7, 52, 277)}


def main(arguments: Sequence[str]) -> NoReturn:
    """Read the key from its file, and become the program; the exit code is 1 if the key cannot be read."""
    path, *command = arguments
    try:
        key = Path(path).read_text(encoding="ascii").strip()
    except OSError as error:
        sys.exit(f"error: {path}: Triton's access key cannot be read: {error.strerror} (SCHWIFT_TRITON_KEY_FILE)")
    start(command, os.environ, key)


def start(command: Sequence[str], environment: Mapping[str, str], key: str) -> NoReturn:
    """Take this process's place. No other thread may run. Raises OSError if the program cannot be started."""
    _give_up_rights()
    whole = [argument.replace(KEY, key) for argument in command]
    sealed = [number for number, argument in enumerate(command) if KEY in argument]
    if sealed and not _traced(sealed, len(command)):
        print(f"warning: {_READABLE}", file=sys.stderr, flush=True)
        os.execvpe(whole[0], whole, dict(environment))
    # Not in a form that Triton takes: where nobody turns the pointer, it ends with an error.
    shown = [
        f"{argument.partition('=')[0]}=sealed" if number in sealed else argument
        for number, argument in enumerate(command)
    ]
    # In the order of the arguments; the rest comes first, so that there is something else to point to.
    variables = {"LC_SEALED": "", **environment, **{f"{_VARIABLE}{number}": whole[number] for number in sealed}}
    os.execvpe(shown[0], shown, variables)


def _give_up_rights() -> None:
    """Give up, for all that the program starts, other programs' rights, core dumps and files that others read."""
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    _keep_modes()


def _keep_modes() -> None:
    """Have a `fchmod` to 644 do nothing, and say that it did: Triton sets its memory so, whatever the umask.

    By a seccomp filter; the kernel runs it for `fchmod` alone. Where there is no such thing, the memory can be read.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return
    # Places in struct seccomp_data: the number of the call, the machine, the low half of the second argument.
    number, architecture, mode = 0, 4, 24
    steps = (
        (_BPF_LOAD, 0, 0, architecture),
        (_BPF_JUMP_IF_EQUAL, 0, 5, machine.architecture),
        (_BPF_LOAD, 0, 0, number),
        (_BPF_JUMP_IF_EQUAL, 0, 3, machine.fchmod),
        (_BPF_LOAD, 0, 0, mode),
        (_BPF_JUMP_IF_EQUAL, 0, 1, 0o644),
        (_BPF_RETURN, 0, 0, _SECCOMP_RET_ERRNO),
        (_BPF_RETURN, 0, 0, _SECCOMP_RET_ALLOW),
    )
    filters = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(filters)))
    _LIBC.syscall(
        ctypes.c_long(machine.seccomp),
        ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_ulong(_SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        ctypes.byref(program),
    )


def _traced(sealed: Sequence[int], count: int) -> bool:
    """Have a process wait for our exec, a child of nobody here; whether it may."""
    target = os.getpid()
    number_in, number_out = os.pipe()
    go_in, go_out = os.pipe()
    well_in, well_out = os.pipe()
    child = os.fork()
    if child == 0:
        if (tracer := os.fork()) != 0:
            os.write(number_out, b"%d" % tracer)
            os._exit(0)
        _trace(target, go_in, well_out, sealed, count)
    os.waitpid(child, 0)
    os.close(well_out)
    # Yama lets a process be traced by its ancestors, and by the one that it names. Fails where there is no Yama.
    _LIBC.prctl(_PR_SET_PTRACER, int(os.read(number_in, 16)), 0, 0, 0)
    os.write(go_out, b"g")
    well = os.read(well_in, 1) == b"y"
    for descriptor in (number_in, number_out, go_in, go_out, well_in):
        os.close(descriptor)
    return well


def _trace(target: int, go: int, well: int, sealed: Sequence[int], count: int) -> NoReturn:
    try:
        os.read(go, 1)
        if _ptrace(_PTRACE_SEIZE, target, 0, _PTRACE_O_TRACEEXEC):
            os.write(well, b"y")
            os.close(well)
            _wait_for_exec(target)
            try:
                _turn_pointers(target, sealed, count)
            except BaseException:
                os.kill(target, signal.SIGKILL)
            _ptrace(_PTRACE_DETACH, target, 0, 0)
    except OSError:
        # It was killed meanwhile.
        pass
    finally:
        os._exit(0)


def _wait_for_exec(target: int) -> None:
    """Let it have every signal that comes before. OSError where it ends."""
    while True:
        _, status = os.waitpid(target, _WALL)
        if not os.WIFSTOPPED(status):
            raise ProcessLookupError
        if status >> 8 == signal.SIGTRAP | _PTRACE_EVENT_EXEC << 8:
            return
        # The upper bits tell of an event, which is no signal to pass on.
        _ptrace(_PTRACE_CONT, target, 0, os.WSTOPSIG(status) if status >> 16 == 0 else 0)


def _turn_pointers(target: int, sealed: Sequence[int], count: int) -> None:
    """In the memory of a program that has not run yet: its stack has argv, NULL, envp, NULL, …, and then the texts."""
    fields = Path(f"/proc/{target}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    first, last, variables, end = (int(field) for field in fields[_ARG_START : _ARG_START + 4])
    memory = os.open(f"/proc/{target}/mem", os.O_RDWR)
    try:
        argv = _places(os.pread(memory, last - first, first), first)
        texts = os.pread(memory, end - variables, variables)
        envp = _places(texts, variables)
        wanted = struct.pack(f"={len(argv) + 1}Q", *argv, 0) + struct.pack(f"={len(envp) + 1}Q", *envp, 0)
        below = len(wanted) + _MARGIN
        array = first - below + os.pread(memory, below, first - below).index(wanted)
        # A script's interpreter has more arguments than the script was given.
        more = len(argv) - count
        for number in sealed:
            name = f"{_VARIABLE}{number}=".encode()
            place = _find(texts, name)
            os.pwrite(memory, struct.pack("=Q", variables + place + len(name)), array + (number + more) * _POINTER)
            entry = array + (len(argv) + 1 + envp.index(variables + place)) * _POINTER
            os.pwrite(memory, struct.pack("=Q", envp[0]), entry)
    finally:
        os.close(memory)


def _places(texts: bytes, start: int) -> list[int]:
    """Where each of these texts begins, which end with a NUL."""
    lengths = (len(text) + 1 for text in texts.split(b"\0")[:-1])
    return list(itertools.accumulate(lengths, initial=start))[:-1]


def _find(texts: bytes, name: bytes) -> int:
    return 0 if texts.startswith(name) else texts.index(b"\0" + name) + 1


def _ptrace(request: int, target: int, address: int, data: int) -> bool:
    return bool(_LIBC.ptrace(request, target, address, data) == 0)


if __name__ == "__main__":
    main(sys.argv[1:])
