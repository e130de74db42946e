"""All processes below one that we started, wherever they are by now, known by a mark in their environment.

Triton starts a process for each instance of a model, and a model may start more. When a parent dies, what it started
goes on under another one, and a session of its own takes it out of the group; the environment it keeps.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path

# The name has to stay: what an earlier release left is known by it.
_VARIABLE = "SCHWIFT_FAMILY"
_PROC = Path("/proc")
_STUB = "triton_python_backend_stub"
# An environment is seldom longer.
_PART_BYTES = 64 * 1024
_END_SECONDS = 2.0
_POLL_SECONDS = 0.02
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)


def marked(environment: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment that makes a process, and all that it starts, the tree of `mark`."""
    return {**environment, _VARIABLE: mark}


def members(mark: str) -> list[int]:
    """List the processes of the tree of `mark`, and of `mark`/…; one that ended and was not waited for is none."""
    line = f"{_VARIABLE}={mark}".encode()
    found = []
    for name in os.listdir(_PROC):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        # Another user's, or gone meanwhile: none of ours.
        with contextlib.suppress(OSError):
            variables = _read(name, "environ")
            if any(variable == line or variable.startswith(line + b"/") for variable in variables):
                found.append(int(name))
    return found


def _read(pid: int | str, file: str) -> list[bytes]:
    # All processes of the machine, every few seconds: four system calls for each, not the nine of a Python file.
    descriptor = os.open(f"{_PROC}/{pid}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _PART_BYTES):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).split(b"\0")


def stubs(mark: str) -> dict[int, str]:
    """Return which Triton model each stub of a tree runs: `…/stub <repository>/<model>/<version>/<file> …`."""
    found = {}
    for pid in members(mark):
        with contextlib.suppress(OSError):
            command = _read(pid, "cmdline")
            if len(command) < 2 or not command[0].endswith(f"/{_STUB}".encode()):
                continue
            *_, name, version, _file = (b"", b"", *command[1].split(b"/"))
            if version.isdigit():
                found[pid] = os.fsdecode(name)
    return found


def words(mark: str) -> set[str]:
    """Collect all arguments of all processes of a tree."""
    found: set[str] = set()
    for pid in members(mark):
        with contextlib.suppress(OSError):
            found.update(map(os.fsdecode, _read(pid, "cmdline")))
    return found


def kill(pids: Collection[int]) -> None:
    """Send SIGKILL, which ends a stopped process too."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end(mark: str) -> None:
    """Kill a tree until nothing of it is left, or for 2 s; while they are killed they may start others."""
    killed: set[int] = set()
    deadline = time.monotonic() + _END_SECONDS
    while (left := members(mark)) and time.monotonic() < deadline:
        killed.update(left)
        kill(left)
        time.sleep(_POLL_SECONDS)
        reap(killed)


def adopt_orphans() -> None:
    """Become the parent of every process below us whose own parent dies, and so the one that waits for it."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_adopted(own: Collection[int]) -> None:
    """Wait for processes that were adopted and have ended, so that no zombie stays; not for those of our `own`.

    One of our own that has ended hides those behind it until somebody has waited for it.
    """
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid in own:
                return
            reap([ended.si_pid])


def reap(pids: Collection[int]) -> None:
    """Wait for those of these processes that are ours and have ended."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
