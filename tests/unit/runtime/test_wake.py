"""The thread that wakes Triton's batcher."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from triton_repo_template.runtime.errors import ModelError
from triton_repo_template.runtime.wake import KEY_FILE, WakeUp, read_key

QUIET = 0.02


class Sent:
    """Counts what was sent, and can be waited for. While `gate` is closed, sending blocks."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.happened = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def __call__(self) -> None:
        self.times.append(time.monotonic())
        self.happened.release()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error

    def again(self, seconds: float = 1) -> bool:
        """Whether one more was sent within this time."""
        return self.happened.acquire(timeout=seconds)


# Threads that a test began, by their names.
WAKE_UP, CALL = "wake-up", "wake-up-call"


def threads(name: str) -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == name}


@pytest.fixture
def sent() -> Iterator[Sent]:
    fake = Sent()
    yield fake
    fake.gate.set()


@pytest.fixture
def wake(sent: Sent) -> Iterator[WakeUp]:
    made = WakeUp(sent, [QUIET])
    yield made
    sent.gate.set()
    made.stop()
    assert not threads(WAKE_UP)


def test_the_key_is_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("ab" * 16 + "\n")
    assert read_key(tmp_path) == "ab" * 16


@pytest.mark.parametrize("text", ["", "\n", "short\n"])
def test_a_key_that_clients_could_hit_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / KEY_FILE).write_text(text)
    with pytest.raises(ModelError, match="wake_key is damaged"):
        read_key(tmp_path)


def test_nothing_is_sent_before_the_first_batch(wake: WakeUp, sent: Sent) -> None:
    assert not sent.again(2 * QUIET)


def test_a_burst_is_followed_by_one_call_after_the_last_of_it(wake: WakeUp, sent: Sent) -> None:
    for _ in range(50):
        wake.note()
    last = time.monotonic()
    assert sent.again()
    assert sent.times[0] - last >= QUIET * 0.9
    assert not sent.again(2 * QUIET)


def test_each_pause_has_its_own(wake: WakeUp, sent: Sent) -> None:
    for _ in range(2):
        wake.note()
        assert sent.again()


def test_a_batch_that_ends_while_we_send_is_followed_by_another(wake: WakeUp, sent: Sent) -> None:
    sent.gate.clear()
    wake.note()
    assert sent.again()
    wake.note()
    sent.gate.set()
    assert sent.again()


def test_an_error_of_one_call_is_not_the_end(wake: WakeUp, sent: Sent) -> None:
    sent.error = RuntimeError("not ready")
    for _ in range(2):
        wake.note()
        assert sent.again()


def test_stop_ends_the_thread_at_once(sent: Sent) -> None:
    wake = WakeUp(sent, [30])
    started = time.monotonic()
    wake.stop()
    assert time.monotonic() - started < 0.5
    assert not threads(WAKE_UP)


def test_stop_does_not_wait_for_a_call_that_hangs(sent: Sent) -> None:
    before = threads(CALL)
    wake = WakeUp(sent, [0])
    sent.gate.clear()
    wake.note()
    assert sent.again()
    started = time.monotonic()
    wake.stop(patience=0.02)
    assert time.monotonic() - started < 0.5
    # It is left to the process's end, which it must not hold up.
    assert [thread.daemon for thread in threads(CALL) - before] == [True]
    assert not threads(WAKE_UP)


def test_the_last_batch_is_followed_at_each_of_the_times(sent: Sent) -> None:
    wake = WakeUp(sent, [QUIET, 3 * QUIET, 5 * QUIET])
    wake.note()
    last = time.monotonic()
    assert [sent.again() for _ in range(3)] == [True] * 3
    # None before its time; a busy machine makes them later.
    assert [at - last > (quiets - 0.5) * QUIET for at, quiets in zip(sent.times, (1, 3, 5), strict=True)] == [True] * 3
    assert not sent.again(3 * QUIET)
    wake.stop()


def test_a_batch_begins_the_times_anew(sent: Sent) -> None:
    wake = WakeUp(sent, [0, 100])
    wake.note()
    assert sent.again()
    wake.stop()
    again = WakeUp(sent, [QUIET, 50 * QUIET])
    again.note()
    assert sent.again()
    again.note()
    noted = time.monotonic()
    assert sent.again()
    # The later one of the first batch is due later than the single of the second one.
    assert sent.times[-1] - noted < 50 * QUIET
    again.stop()


def test_a_call_without_an_answer_does_not_hold_up_the_next(sent: Sent) -> None:
    before = threads(CALL)
    sent.gate.clear()
    wake = WakeUp(sent, [QUIET * i for i in range(1, 8)])
    wake.note()
    assert [sent.again() for _ in range(4)] == [True] * 4
    # Four without an answer are enough.
    assert not sent.again(10 * QUIET)
    sent.gate.set()
    wake.stop()
    assert threads(CALL) <= before
