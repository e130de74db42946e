"""A process that ends is started again, and what is said of it. The processes are real, the clock is counted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from converter.errors import ServeError
from schwift.process_group import ProcessGroup
from schwift.restarting import RestartBackoff, RestartingProcess
from tests.support.processes import alive, wait_until

SLEEP = "import time; time.sleep(100)"


class Lives:
    """Starts a program for each life, the last one again and again."""

    def __init__(self, log: Path, *programs: str) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.cleaned = 0
        self.started: list[ProcessGroup] = []
        self.fails = False
        self._log = log
        self._programs = programs
        self.restarting = RestartingProcess("Triton", self._start, self._clean, self.said.append, lambda: self.now)

    @property
    def group(self) -> ProcessGroup:
        return self.started[-1]

    def end(self) -> None:
        """Wait until the current life is over."""
        wait_until(lambda: self.group.exit_code() is not None)

    def _start(self) -> ProcessGroup:
        if self.fails:
            raise BlockingIOError("no process to be had")
        program = self._programs[min(len(self.started), len(self._programs) - 1)]
        self.started.append(ProcessGroup("Triton", [sys.executable, "-c", program], os.environ, self._log))
        return self.started[-1]

    def _clean(self) -> None:
        self.cleaned += 1


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "log"


def first_life(log: Path, *programs: str) -> Lives:
    lives = Lives(log, *programs)
    lives.restarting.start()
    lives.restarting.mark_healthy()
    return lives


def test_one_that_runs_is_left_alone(log: Path) -> None:
    lives = first_life(log, SLEEP)
    lives.restarting.tick()
    assert lives.restarting.process is lives.group
    lives.restarting.stop(patience=5)
    assert lives.restarting.process is None
    assert lives.group.exit_code() == -signal.SIGTERM
    assert (len(lives.started), lives.cleaned, lives.said) == (1, 1, [])


def test_one_that_is_killed_is_started_again_after_a_pause(log: Path) -> None:
    lives = first_life(log, "print('last words', flush=True); " + SLEEP, SLEEP)
    wait_until(lambda: "words" in lives.group.last_words())
    os.kill(lives.group.pid, signal.SIGKILL)
    lives.end()
    lives.restarting.tick()
    assert lives.said == ["Triton was ended by signal 9 (SIGKILL); it is started again in 0.1 s\n  last words"]
    assert lives.cleaned == 1
    lives.restarting.tick()
    assert (lives.restarting.process, len(lives.started)) == (None, 1)
    lives.now += 0.1
    lives.restarting.tick()
    assert lives.restarting.process is lives.group and len(lives.started) == 2
    lives.restarting.mark_healthy()
    lives.restarting.mark_healthy()
    assert lives.said[1:] == ["Triton is back"]
    lives.restarting.stop(patience=5)


def test_one_that_ends_again_and_again_is_tried_for_ever_less_and_less_often(log: Path) -> None:
    lives = first_life(log, "raise SystemExit(3)")
    pauses = []
    for _ in range(9):
        lives.end()
        lives.restarting.tick()
        before = lives.now
        while lives.restarting.process is None:
            lives.now += 0.05
            lives.restarting.tick()
        pauses.append(round(lives.now - before, 1))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert lives.said[-1] == "Triton ended with code 3; it is started again in 10 s"
    lives.restarting.stop(patience=5)


def test_one_that_never_worked_is_an_error_with_its_last_words(log: Path) -> None:
    lives = Lives(log, "print('no such option'); raise SystemExit(1)")
    lives.restarting.start()
    lives.end()
    with pytest.raises(ServeError) as caught:
        lives.restarting.tick()
    assert str(caught.value) == "Triton ended with code 1\nno such option"
    lives.restarting.stop(patience=5)


def test_one_that_hangs_is_ended_with_all_of_it(log: Path) -> None:
    stuck = "import os, signal\nif not os.fork(): print(os.getpid(), flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)"
    lives = first_life(log, stuck, SLEEP)
    wait_until(lambda: lives.group.last_words().isdigit())
    other = int(lives.group.last_words())
    lives.restarting.restart("did not answer for 60 s and was killed")
    wait_until(lambda: not alive(lives.group.pid) and not alive(other))
    assert lives.said[0].startswith("Triton did not answer for 60 s and was killed; it is started again in 0.1 s")
    lives.restarting.restart("is not there any more")
    assert len(lives.said) == 1
    lives.restarting.stop(patience=5)


def test_where_no_process_is_to_be_had_it_is_tried_again(log: Path) -> None:
    lives = first_life(log, "pass", SLEEP)
    lives.end()
    lives.restarting.tick()
    lives.fails = True
    lives.now += 1
    lives.restarting.tick()
    assert lives.said[-1] == "Triton could not be started; it is started again in 0.2 s\n  no process to be had"
    lives.fails = False
    lives.now += 1
    lives.restarting.tick()
    assert lives.restarting.process is lives.group and len(lives.started) == 2
    lives.restarting.stop(patience=5)


def test_waits_double_up_to_ten_seconds() -> None:
    backoff = RestartBackoff()
    assert [backoff.after(0) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


def test_a_life_of_a_minute_was_a_good_one() -> None:
    backoff = RestartBackoff()
    assert [backoff.after(lived) for lived in (0, 59.9, 60, 0, 3600, 1)] == [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]
