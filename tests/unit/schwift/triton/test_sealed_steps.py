"""Each step on the way to a sealed program, taken in a fork of this process: tracing, turning, giving up."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from schwift.triton import sealed_start
from schwift.triton.sealed_start import KEY
from tests.support.forking import forked, run_as_program

SECRET = "0123456789abcdef-secret"
# Writes what it was given, and what others see of it.
PROGRAM = """
import json, os, sys
with open("/proc/self/cmdline", "rb") as file:
    shown = file.read().decode().split(chr(0))
with open(sys.argv[1], "w") as file:
    json.dump([sys.argv[2:], shown[5:-1], {k: v for k, v in os.environ.items() if "SEALED" in k}], file)
"""


# From <linux/ptrace.h>.
PTRACE_CONT, PTRACE_SEIZE = 7, 0x4206
NOTHING = ctypes.c_void_p(0)


def ptrace(request: int, pid: int) -> int:
    return int(ctypes.CDLL(None).ptrace(ctypes.c_long(request), ctypes.c_long(pid), NOTHING, NOTHING))


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-c", PROGRAM, str(path), *arguments]


def start(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Callable[[], NoReturn]:
    return functools.partial(sealed_start.start, command, os.environ if environment is None else environment, SECRET)


def written(path: Path, body: Callable[[], object]) -> list[object]:
    """What the program says that `body` becomes."""
    with forked(body) as fork:
        assert fork.wait() == 0
    said: list[object] = json.loads(path.read_text())
    return said


def test_sealed_arguments_reach_the_program_and_nobody_else(tmp_path: Path) -> None:
    arguments = [f"--one={KEY}", "--two", f"--three=a:{KEY}:b", "last"]
    got, shown, left = written(tmp_path / "said", start(command(tmp_path / "said", *arguments)))
    assert got == [f"--one={SECRET}", "--two", f"--three=a:{SECRET}:b", "last"]
    assert shown == ["--one=sealed", "--two", "--three=sealed", "last"]
    assert left == {"LC_SEALED": ""}


def test_variable_with_a_name_like_its_own_is_left_as_it_is(tmp_path: Path) -> None:
    environment = {"SCHWIFT_SEALED_ARGUMENTS": "", "PATH": os.environ["PATH"]}
    got, shown, left = written(tmp_path / "said", start(command(tmp_path / "said", f"--one={KEY}"), environment))
    assert (got, shown) == ([f"--one={SECRET}"], ["--one=sealed"])
    assert left == {"LC_SEALED": "", "SCHWIFT_SEALED_ARGUMENTS": ""}


def test_command_without_a_key_is_started_as_it_is(tmp_path: Path) -> None:
    got, shown, left = written(tmp_path / "said", start(command(tmp_path / "said", "--one=two")))
    assert (got, shown, left) == (["--one=two"], ["--one=two"], {"LC_SEALED": ""})


def test_main_reads_the_key_from_its_file_and_becomes_the_program(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    given = [str(tmp_path / "key"), *command(tmp_path / "said", f"--one={KEY}")]
    body = functools.partial(run_as_program, "schwift.triton.sealed_start", given)
    assert written(tmp_path / "said", body)[:2] == [[f"--one={SECRET}"], ["--one=sealed"]]


def test_main_without_a_key_names_the_file_and_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        sealed_start.main([str(tmp_path / "none"), "true"])
    assert caught.value.code == (
        f"error: {tmp_path}/none: Triton's access key cannot be read: No such file or directory "
        "(SCHWIFT_TRITON_KEY_FILE)"
    )


def test_program_that_does_not_exist_is_an_error_and_nothing_waits_for_it(tmp_path: Path) -> None:
    """Who traces lets the process have its signals until then, and ends with it."""
    got: list[int] = []

    def body() -> None:
        signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
        try:
            start([str(tmp_path / "none"), f"--one={KEY}"])()
        except FileNotFoundError:
            # Stopped by each of them, and let go on by the other process.
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1)
            tracer = tracer_of(os.getpid())
            (tmp_path / "said").write_text(json.dumps([got, tracer]))

    with forked(body) as fork:
        assert fork.wait() == 0
    signals, tracer = json.loads((tmp_path / "said").read_text())
    assert signals == [signal.SIGUSR1] * 3
    assert tracer > 0
    assert tracer_of(fork.pid) is None


def tracer_of(pid: int) -> int | None:
    """Who traces a process: 0 is nobody; None if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid:"))


def traced(program: Callable[[], object]) -> None:
    """Run a program that this process traces, as one that forbids others to; a process has one tracer."""
    going, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.read(going, 1)
            program()
            code = 0
        finally:
            os._exit(code)
    assert ptrace(PTRACE_SEIZE, pid) == 0
    os.write(go, b"g")
    _, status = os.waitpid(pid, 0)
    while os.WIFSTOPPED(status):
        assert ptrace(PTRACE_CONT, pid) == 0
        _, status = os.waitpid(pid, 0)
    assert status == 0


def test_where_no_process_may_trace_the_key_is_given_all_the_same(tmp_path: Path) -> None:
    got, shown, _ = written(
        tmp_path / "said", functools.partial(traced, start(command(tmp_path / "said", f"--one={KEY}")))
    )
    assert got == shown == [f"--one={SECRET}"]


def test_where_no_process_may_trace_a_warning_is_printed_first(tmp_path: Path) -> None:
    errors = tmp_path / "errors"

    def program() -> None:
        with contextlib.suppress(FileNotFoundError), open(errors, "w") as sys.stderr:
            start([str(tmp_path / "none"), f"--one={KEY}"])()

    with forked(functools.partial(traced, program)) as fork:
        assert fork.wait() == 0
    assert errors.read_text() == (
        "warning: the key of its control can be read on its command line: this machine lets no process trace its "
        "parent\n"
    )


@pytest.mark.parametrize(
    ("machine", "modes"),
    [
        (platform.machine(), "600 604 " if platform.machine() in ("x86_64", "aarch64") else "644 604 "),
        ("riscv64", "644 604 "),
    ],
)  # fmt: skip
def test_rights_are_given_up_for_all_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, modes: str
) -> None:
    """Files that others read by a filter, which there is for the processors whose numbers are known."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    path = tmp_path / "said"

    def body() -> None:
        with contextlib.suppress(FileNotFoundError):
            start([str(tmp_path / "none")])()
        with open(path, "w") as file:
            # What Triton sets, and then another.
            for mode in (0o644, 0o604):
                os.fchmod(file.fileno(), mode)
                file.write(f"{os.fstat(file.fileno()).st_mode & 0o777:o} ")
            file.write(Path("/proc/self/status").read_text())

    with forked(body) as fork:
        assert fork.wait() == 0
    said = path.read_text()
    assert said.startswith(modes)
    assert "NoNewPrivs:\t1\n" in said
