"""The loop stays awake for a quick answer, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from adapter.batching import busy_poll
from adapter.batching.busy_poll import BusyPoll


class Counting(asyncio.SelectorEventLoop):
    """Counts the turns in which it would have slept, and those in which it would not."""

    asleep = 0
    awake = 0

    def _run_once(self) -> None:
        if self._ready:  # type: ignore[attr-defined]  # what is to be called at once
            self.awake += 1
        else:
            self.asleep += 1
        super()._run_once()  # type: ignore[misc]  # of the base, which the stubs leave out


def model_locks(expected: float, seconds: float, stop: bool = True) -> Counting:
    """A call that was expected to take so long, and took `seconds`."""
    loop = Counting()

    async def call() -> None:
        keeping = BusyPoll()
        keeping.start(loop, expected)
        await asyncio.sleep(seconds)
        if stop:
            keeping.stop()
        await asyncio.sleep(0.05)

    try:
        loop.run_until_complete(call())
    finally:
        loop.close()
    return loop


def test_a_quick_call_keeps_the_loop_awake() -> None:
    assert model_locks(0.0009, 0.0005).awake > 20


@pytest.mark.parametrize("expected", [0.0, busy_poll._QUICK_SECONDS, 0.01])
def test_a_slow_or_unknown_call_does_not(expected: float) -> None:
    assert model_locks(expected, 0.0005).awake < 10


@pytest.mark.parametrize("stop", [True, False])
def test_it_sleeps_again_after_the_call_or_once_that_takes_too_long(stop: bool) -> None:
    loop = model_locks(0.0009, 0.0 if stop else 0.02, stop)
    assert loop.asleep >= 1
    assert loop.awake < busy_poll._MOST_TURNS


class Clients:
    """Calls that each take 400 µs, by a clock that every look at it moves on by a microsecond."""

    def __init__(self) -> None:
        self.now = 0.0
        self.loop = Counting()
        self.eager = BusyPoll(self._tick)

    def _tick(self) -> float:
        self.now += 1e-6
        return self.now

    def awake_after(self, pause: float) -> int:
        """A call, whose client comes `pause` seconds later: turns until then."""
        self.eager.start(self.loop, 0.0004)
        self._turn_until(self.now + 0.0004)
        self.eager.stop()
        model_locks = self._turn_until(self.now + pause)
        self.now = max(self.now, self.now + pause - model_locks * 1e-6)
        return model_locks

    def _turn_until(self, end: float) -> int:
        model_locks = 0
        while self.now < end and self.eager._awake:
            self.loop._run_once()
            model_locks += 1
        return model_locks


@pytest.fixture
def clients() -> Iterator[Clients]:
    these = Clients()
    yield these
    these.loop.close()


def test_a_client_that_asks_again_at_once_finds_the_loop_awake(clients: Clients) -> None:
    for _ in range(50):
        assert 40 <= clients.awake_after(0.00005) <= 51
        assert clients.eager._awake


def test_where_nobody_comes_back_it_is_tried_only_now_and_then(clients: Clients) -> None:
    found = [clients.awake_after(0.01) for _ in range(100)]
    assert all(90 < model_locks < 110 for model_locks in found[: busy_poll._MOST_MISSED - 1])
    rest = found[busy_poll._MOST_MISSED :]
    assert sum(model_locks > 90 for model_locks in rest) == len(rest) // busy_poll._TRY_EVERY + 1
    assert max(rest) < 110 and min(rest) <= 1


def test_who_comes_back_again_is_waited_for_again(clients: Clients) -> None:
    for _ in range(30):
        clients.awake_after(0.01)
    found = [clients.awake_after(0.00005) for _ in range(40)]
    assert all(model_locks >= 40 for model_locks in found[busy_poll._TRY_EVERY + 1 :])
