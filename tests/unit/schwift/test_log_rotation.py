"""Triton's log files: of the starts before, and the one that is written to."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schwift import log_rotation
from tests.support.forking import forked
from tests.support.processes import alive, wait_until

# Becomes, as `schwift triton` does, another program that writes a log, and says who keeps that small meanwhile.
WRITER = """
import os, subprocess, sys
from pathlib import Path
from schwift import log_rotation
log_rotation.MOST_BYTES, log_rotation.PERIOD_SECONDS = 1000, 0.01
log = Path(sys.argv[1])
log_rotation.keep_cutting(log)
keeper = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
print(keeper, flush=True)
code = "import sys; log = open(sys.argv[1], 'ab', 0); [log.write(line) for line in sys.stdin.buffer]"
os.execv(sys.executable, [sys.executable, "-c", code, str(log)])
"""


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def was_cut(log: Path, letter: str) -> bool:
    """Both steps of it, since what is written between the two is lost."""
    try:
        return log.with_name("triton.log.1").read_text(encoding="utf-8").startswith(letter) and log.stat().st_size == 0
    except FileNotFoundError:
        return False


def test_a_large_log_is_set_aside_and_five_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rotation, "MOST_BYTES", 4)
    log = tmp_path / "triton.log"
    for number in range(8):
        log.write_text(f"log {number}", encoding="utf-8")
        log_rotation.set_aside(log)
    assert contents(tmp_path) == {f"triton.log.{i}": f"log {8 - i}" for i in range(1, 6)}


def test_a_small_log_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "triton.log"
    log_rotation.set_aside(log)
    log_rotation.cut(log)
    log.write_text("a few lines", encoding="utf-8")
    log_rotation.set_aside(log)
    log_rotation.cut(log)
    assert contents(tmp_path) == {"triton.log": "a few lines"}


def test_a_log_that_is_open_is_cut_and_written_on_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_rotation, "MOST_BYTES", 4)
    log = tmp_path / "triton.log"
    with open(log, "a", encoding="utf-8") as file:
        for number in range(8):
            file.write(f"log {number}")
            file.flush()
            log_rotation.cut(log)
        file.write("now")
        file.flush()
        assert contents(tmp_path) == {"triton.log": "now"} | {f"triton.log.{i}": f"log {8 - i}" for i in range(1, 6)}


def test_what_a_process_becomes_has_its_log_kept_small_until_it_ends(tmp_path: Path) -> None:
    log = tmp_path / "triton.log"
    command = [sys.executable, "-c", WRITER, str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin and writer.stdout
        keeper = int(writer.stdout.readline())
        for letter in ("a", "b"):
            written = letter * 2000
            writer.stdin.write(f"{written}\n".encode())
            writer.stdin.flush()
            wait_until(functools.partial(was_cut, log, letter))
        assert alive(keeper)
        writer.stdin.close()
        assert writer.wait(30) == 0
    wait_until(lambda: not alive(keeper))
    assert contents(tmp_path) == {
        "triton.log": "",
        "triton.log.1": "b" * 2000 + "\n",
        "triton.log.2": "a" * 2000 + "\n",
    }


def test_a_full_disk_costs_the_oldest_log_and_then_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each of them, one a try."""
    monkeypatch.setattr(log_rotation, "MOST_BYTES", 4)

    def full(source: Path, copy: Path) -> None:
        copy.write_text("part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    log = tmp_path / "triton.log"
    log.write_text("large")
    for i in (1, 2):
        log.with_name(f"triton.log.{i}").write_text(f"old {i}")
    log_rotation.cut(log)
    assert contents(tmp_path) == {"triton.log": "large", "triton.log.1": "old 1"}
    log_rotation.cut(log)
    assert contents(tmp_path) == {"triton.log": "large"}
    log_rotation.cut(log)
    assert contents(tmp_path) == {"triton.log": ""}


def test_any_other_failure_of_the_copy_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_rotation, "MOST_BYTES", 4)

    def refused(source: Path, copy: Path) -> None:
        copy.write_text("part")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(shutil, "copyfile", refused)
    log = tmp_path / "triton.log"
    log.write_text("large")
    with pytest.raises(OSError, match="Input/output error"):
        log_rotation.cut(log)
    assert contents(tmp_path) == {"triton.log": "large"}


def test_who_keeps_a_log_small_outlives_its_failures_and_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_rotation, "MOST_BYTES", 1000)
    monkeypatch.setattr(log_rotation, "PERIOD_SECONDS", 0.01)
    log = tmp_path / "triton.log"
    said, told = os.pipe()
    going, go = os.pipe()

    def become() -> None:
        log_rotation.keep_cutting(log)
        os.write(told, Path(f"/proc/self/task/{os.getpid()}/children").read_bytes())
        os.read(going, 1)

    with forked(become) as fork:
        keeper = int(os.read(said, 100))
        # For as long as it cannot be copied, it stays; a folder is in the way.
        log.with_name("triton.log.copy").mkdir()
        log.write_text("a" * 2000)
        wait_until(lambda: ignores(keeper, signal.SIGINT))
        os.kill(keeper, signal.SIGINT)
        log.with_name("triton.log.copy").rmdir()
        wait_until(lambda: was_cut(log, "a"))
        assert alive(keeper)
        # It can be ended without the other one.
        os.kill(keeper, signal.SIGTERM)
        wait_until(lambda: not alive(keeper))
        os.write(go, b"g")
        assert fork.wait() == 0
    for descriptor in (said, told, going, go):
        os.close(descriptor)
    assert contents(tmp_path) == {"triton.log": "", "triton.log.1": "a" * 2000}


def ignores(pid: int, number: int) -> bool:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
