"""A sleep that a signal, a child's end or something to read ends, and nothing else."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time

from schwift.wakes import Wakes, waking

# Far more than a machine under load needs to wake somebody.
LONG = 60.0
# Beyond what `select` takes.
LARGE = 2000


def seconds_of(wakes: Wakes, seconds: float, *others: int) -> float:
    began = time.monotonic()
    wakes.sleep(seconds, *others)
    return time.monotonic() - began


def test_nothing_ends_it_before_its_time() -> None:
    with waking() as wakes:
        assert seconds_of(wakes, 0.2) >= 0.2


def test_a_signal_that_came_before_or_comes_meanwhile_ends_it_once() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        with waking() as wakes:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert seconds_of(wakes, LONG) < LONG / 2
            assert seconds_of(wakes, 0.2) >= 0.2
            code = f"import os, signal, time; time.sleep(0.3); os.kill({os.getpid()}, signal.SIGUSR1); time.sleep(100)"
            with subprocess.Popen([sys.executable, "-c", code]) as sender:
                assert seconds_of(wakes, LONG) < LONG / 2
                sender.kill()
        assert came == [signal.SIGUSR1, signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_end_of_a_child_ends_it() -> None:
    with waking() as wakes, subprocess.Popen(["sleep", "0.3"]):
        assert seconds_of(wakes, LONG) < LONG / 2


def test_something_to_read_ends_it_and_is_not_read() -> None:
    read_end, write_end = os.pipe()
    with waking() as wakes:
        os.write(write_end, b"kill m\n")
        assert seconds_of(wakes, LONG, read_end) < LONG / 2
    assert os.read(read_end, 100) == b"kill m\n"
    os.close(read_end)
    os.close(write_end)


def test_descriptors_may_have_large_numbers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= LARGE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * LARGE, hard), hard))
    read_end, write_end = os.pipe()
    large = fcntl.fcntl(read_end, fcntl.F_DUPFD, LARGE)
    with waking() as wakes:
        os.write(write_end, b"x")
        assert seconds_of(wakes, LONG, large) < LONG / 2
    for end in (read_end, write_end, large):
        os.close(end)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_leaves_the_handlers_as_they_were() -> None:
    before, descriptor = signal.getsignal(signal.SIGCHLD), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    with waking():
        assert signal.getsignal(signal.SIGCHLD) is not before
    assert signal.getsignal(signal.SIGCHLD) is before
    after = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after)
    assert after == descriptor
