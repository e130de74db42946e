"""Time slices of threads, as the kernel of this machine has them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.support.models.hosted_members import write_member
from triton_repo_template.runtime.host import time_slice
from triton_repo_template.runtime.host.member import load_member
from triton_repo_template.runtime.host.running_note import RunningNote
from triton_repo_template.runtime.host.time_slice import LONG_SECONDS, SHORT_SECONDS, CallSlice, read_time_slice

# Older kernels say 0 of every thread, and take what they are told without a look at it.
KERNEL_HAS_SLICES = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) >= (6, 12)


def kept(seconds: float) -> float:
    return seconds if KERNEL_HAS_SLICES else 0.0


@pytest.fixture(autouse=True)
def own_slice() -> Iterator[float]:
    """That of this thread, set back afterwards."""
    before = read_time_slice()
    yield before
    time_slice.set_time_slice(before)
    assert read_time_slice() == before


def test_a_slice_is_set_read_and_set_back(own_slice: float) -> None:
    assert time_slice.set_time_slice(SHORT_SECONDS) == own_slice
    assert read_time_slice() == read_time_slice(threading.get_native_id()) == kept(SHORT_SECONDS)
    assert time_slice.set_time_slice(own_slice) == kept(SHORT_SECONDS)
    assert read_time_slice() == own_slice


def test_what_is_started_later_has_it_too() -> None:
    time_slice.set_time_slice(SHORT_SECONDS)
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(read_time_slice()))
    thread.start()
    thread.join()
    code = "from triton_repo_template.runtime.host.time_slice import read_time_slice; print(read_time_slice())"
    found.append(float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert found == [kept(SHORT_SECONDS)] * 2


def test_how_nice_a_thread_is_stays(own_slice: float) -> None:
    found: list[int] = []

    def run() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 3)
        time_slice.set_time_slice(LONG_SECONDS)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (found, read_time_slice()) == ([3], own_slice)


def test_a_thread_of_another_class_and_a_machine_without_its_numbers_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[object] = []

    def run() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        found.extend((time_slice.set_time_slice(SHORT_SECONDS), read_time_slice(), os.sched_getscheduler(0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [0.0, 0.0, os.SCHED_IDLE]
    monkeypatch.setattr("platform.machine", lambda: "abacus")
    assert (time_slice.set_time_slice(SHORT_SECONDS), read_time_slice()) == (0.0, 0.0)
    monkeypatch.undo()


def test_calls_of_a_model_are_long_once_one_was_slow(own_slice: float) -> None:
    call = CallSlice()
    slices = []
    for seconds in (0.001, 0.02, 0.006, 0.004, 0.001):
        call.begin()
        slices.append(read_time_slice())
        call.end(seconds)
        assert read_time_slice() == own_slice
    assert slices == [own_slice, own_slice, kept(LONG_SECONDS), kept(LONG_SECONDS), own_slice]


class SlowAndWrong:
    """A model that takes its time and then raises, and notes in which slice it was called."""

    slices: ClassVar[list[float]] = []

    def predict(self, rows: Any) -> Any:
        self.slices.append(read_time_slice())
        time.sleep(2 * CallSlice.SLOW_SECONDS)
        raise SystemExit("no")


def test_a_slow_call_that_fails_sets_the_slice_back(own_slice: float, tmp_path: Path) -> None:
    key = write_member(tmp_path, "a", SlowAndWrong())
    member = load_member(tmp_path, key, RunningNote(None), 1, False)
    SlowAndWrong.slices.clear()
    for _ in range(2):
        (error,), micros = member.answer([{"x": np.ones((1, 2), np.float32)}])
        assert str(error) == "[schwift:model_error] SystemExit: no"
        assert micros >= 2e6 * CallSlice.SLOW_SECONDS
        assert read_time_slice() == own_slice
    assert SlowAndWrong.slices == [own_slice, kept(LONG_SECONDS)]
