"""A child process and all that it started end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schwift.process_group import ProcessGroup
from tests.support.processes import alive, wait_until

# A leader that starts a grandchild, which ignores SIGTERM, and writes both their numbers once it does.
FAMILY = """
import os, signal, sys, time
leader_ignores, path = sys.argv[1] == "True", sys.argv[2]
if leader_ignores:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(path + ".part", "w") as file:
        file.write(f"{os.getppid()} {os.getpid()}")
    os.rename(path + ".part", path)
time.sleep(100)
"""


@pytest.fixture
def started() -> Iterator[list[ProcessGroup]]:
    children: list[ProcessGroup] = []
    yield children
    for child in children:
        child.stop(patience=0)


def python(started: list[ProcessGroup], code: str, *arguments: str, log: Path | None = None) -> ProcessGroup:
    child = ProcessGroup("a child", [sys.executable, "-c", code, *arguments], os.environ, log)
    started.append(child)
    return child


@pytest.mark.parametrize("leader_ignores", [False, True])
def test_stop_ends_grandchildren_that_ignore_sigterm(
    started: list[ProcessGroup], tmp_path: Path, leader_ignores: bool
) -> None:
    note = tmp_path / "pids"
    child = python(started, FAMILY, str(leader_ignores), str(note))
    wait_until(note.exists)
    leader, grandchild = (int(pid) for pid in note.read_text().split())
    assert leader == child.pid
    assert child.exit_code() is None
    assert alive(grandchild)
    child.stop(patience=0.2 if leader_ignores else 5)
    assert child.exit_code() == -(signal.SIGKILL if leader_ignores else signal.SIGTERM)
    wait_until(lambda: not alive(grandchild))


def test_stop_ends_what_a_leader_left_behind(started: list[ProcessGroup], tmp_path: Path) -> None:
    note = tmp_path / "pids"
    child = python(started, FAMILY, "False", str(note))
    wait_until(note.exists)
    grandchild = int(note.read_text().split()[1])
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.exit_code() is not None)
    assert alive(grandchild)
    child.stop(patience=5)
    wait_until(lambda: not alive(grandchild))


def test_stop_leaves_a_leader_the_time_to_end_well(started: list[ProcessGroup], tmp_path: Path) -> None:
    code = """
import pathlib, signal, sys
def end(*_):
    pathlib.Path(sys.argv[2]).write_text("well")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""
    child = python(started, code, str(tmp_path / "up"), str(tmp_path / "end"))
    wait_until((tmp_path / "up").exists)
    child.stop(patience=10)
    assert child.exit_code() == 3
    assert (tmp_path / "end").read_text() == "well"


def test_stop_of_a_child_that_ended_keeps_its_code(started: list[ProcessGroup]) -> None:
    child = python(started, "raise SystemExit(5)")
    wait_until(lambda: child.exit_code() is not None)
    child.stop(patience=5)
    child.stop(patience=5)
    assert child.exit_code() == 5


def test_child_has_a_session_of_its_own_and_no_input(started: list[ProcessGroup], tmp_path: Path) -> None:
    code = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"
    child = python(started, code, log=tmp_path / "log")
    wait_until(lambda: child.exit_code() is not None)
    assert (tmp_path / "log").read_text() == "True ''\n"


def test_child_is_told_when_its_parent_dies(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
import os, sys
from pathlib import Path
from schwift.process_group import ProcessGroup
from tests.support.processes import alive, wait_until
child = ProcessGroup("x", [sys.executable, "-c", "import signal; signal.pause()"], os.environ)
Path({str(note)!r}).write_text(str(child.pid))
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    orphan = int(note.read_text())
    wait_until(lambda: not alive(orphan))


def test_log_takes_both_outputs_and_is_added_to(started: list[ProcessGroup], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    child = python(started, "import sys; print('out', flush=True); print('err', file=sys.stderr)", log=log)
    wait_until(lambda: child.exit_code() is not None)
    assert log.read_text() == "before\nout\nerr\n"


def test_last_words_are_of_this_life_alone(started: list[ProcessGroup], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier life\n")
    child = python(started, "print('mine')", log=log)
    wait_until(lambda: child.exit_code() is not None)
    assert child.last_words() == "mine"


def test_last_words_are_found_in_a_log_that_was_cut(started: list[ProcessGroup], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier life\n" * 100)
    child = python(started, "", log=log)
    wait_until(lambda: child.exit_code() is not None)
    log.write_text("mine\n")
    assert child.last_words() == "mine"


LOG = """\
I0423 10:00:00.000000 1 server.cc:1] "started"
+-------+--------+
| Model | Status |
+-------+--------+

one
E0423 10:00:00.000000 1 main.cc:1] "failed"
E0423 10:00:00.000000 1 server.cc:241] "CudaDriverHelper has not been initialized."
two\0
"""


@pytest.mark.parametrize(
    ("text", "lines", "shown"),
    [
        (LOG, 5, 'one\nE0423 10:00:00.000000 1 main.cc:1] "failed"\ntwo'),
        (LOG, 1, "two"),
        ("ImportError: libb64.so.0: cannot open\n", 5, "ImportError: libb64.so.0: cannot open"),
        ("", 5, ""),
    ],
)
def test_last_words_are_the_end_of_the_log_without_its_tables(
    started: list[ProcessGroup], tmp_path: Path, text: str, lines: int, shown: str
) -> None:
    child = python(started, "", log=tmp_path / "log")
    wait_until(lambda: child.exit_code() is not None)
    (tmp_path / "log").write_text(text)
    assert child.last_words(lines) == shown


def test_child_without_a_log_has_no_last_words(started: list[ProcessGroup]) -> None:
    assert python(started, "").last_words() == ""
