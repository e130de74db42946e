"""The loop stays awake for a quick answer, and for nothing else."""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

import pytest

from adapter.batching import busy_poll
from adapter.batching.busy_poll import BusyPoll
from adapter.batching.call_times import QUICK_SECONDS
from adapter.batching.shared_cores import SharedCores
from tests.support.batching import make_call_times


class Counting(selectors.DefaultSelector):
    """Counts the turns in which its loop sleeps, and those in which it does not."""

    asleep = 0
    awake = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout == 0:
            self.awake += 1
        else:
            self.asleep += 1
        return super().select(timeout)


def turns_of(expected: float, seconds: float, requests: int = 1, others: int = 0, has_spare: bool = True) -> Counting:
    """A call of so many requests that was expected to take so long, and took `seconds`, beside so many others."""
    turns = Counting()
    loop = asyncio.SelectorEventLoop(turns)
    cores = SharedCores(2, time.monotonic, has_spare)
    for _ in range(1 + others):
        cores.begin()

    async def call() -> None:
        with BusyPoll(make_call_times(expected), time.monotonic, cores).during(requests):
            await asyncio.sleep(seconds)
        await asyncio.sleep(0.05)

    try:
        loop.run_until_complete(call())
    finally:
        loop.close()
    return turns


@pytest.mark.parametrize("requests", [1, 16])
def test_a_quick_call_keeps_the_loop_awake(requests: int) -> None:
    assert turns_of(0.0009, 0.0005, requests).awake > 20


@pytest.mark.parametrize(("requests", "others", "has_spare"), [(17, 0, True), (1, 1, True), (1, 0, False)])
def test_one_of_many_requests_or_that_needs_the_core_does_not(requests: int, others: int, has_spare: bool) -> None:
    assert turns_of(0.0009, 0.0005, requests, others, has_spare).awake < 10


@pytest.mark.parametrize("expected", [0.0, QUICK_SECONDS, 0.01])
def test_a_slow_or_unknown_call_does_not(expected: float) -> None:
    assert turns_of(expected, 0.0005).awake < 10


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_it_sleeps_again_after_the_call_or_once_that_takes_too_long(seconds: float) -> None:
    turns = turns_of(0.0009, seconds)
    assert turns.asleep >= 1
    assert turns.awake < busy_poll.MOST_TURNS


class Clients:
    """Calls that each take 400 µs, by a clock that every look at it moves on by a microsecond."""

    def __init__(self) -> None:
        self.now = 0.0
        cores = SharedCores(2, self._tick)
        cores.begin()
        self.busy_poll = BusyPoll(make_call_times(0.0004), self._tick, cores)

    def _tick(self) -> float:
        self.now += 1e-6
        return self.now

    async def awake_after(self, pause: float) -> int:
        """A call, whose client comes `pause` seconds later: turns until then."""
        with self.busy_poll.during(1):
            await self._turn_until(self.now + 0.0004)
        awake = await self._turn_until(self.now + pause)
        self.now = max(self.now, self.now + pause - awake * 1e-6)
        return awake

    async def _turn_until(self, end: float) -> int:
        turns = 0
        while self.now < end and self.busy_poll.awake:
            await asyncio.sleep(0)
            turns += 1
        return turns


async def test_a_client_that_asks_again_at_once_finds_the_loop_awake() -> None:
    clients = Clients()
    for _ in range(50):
        assert 40 <= await clients.awake_after(0.00005) <= 51
        assert clients.busy_poll.awake


async def test_where_nobody_comes_back_it_is_tried_only_now_and_then() -> None:
    clients = Clients()
    found = [await clients.awake_after(0.01) for _ in range(100)]
    assert all(90 < turns < 110 for turns in found[: busy_poll.MOST_MISSED - 1])
    rest = found[busy_poll.MOST_MISSED :]
    assert sum(turns > 90 for turns in rest) == len(rest) // busy_poll.TRY_EVERY + 1
    assert max(rest) < 110 and min(rest) <= 1


async def test_who_comes_back_again_is_waited_for_again() -> None:
    clients = Clients()
    for _ in range(30):
        await clients.awake_after(0.01)
    found = [await clients.awake_after(0.00005) for _ in range(40)]
    assert all(turns >= 40 for turns in found[busy_poll.TRY_EVERY + 1 :])
