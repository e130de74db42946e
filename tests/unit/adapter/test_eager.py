"""The loop stays awake for a quick answer, and for nothing else."""

from __future__ import annotations

import asyncio

import pytest

from adapter import eager
from adapter.eager import Eager


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


def turns(expected: float, seconds: float, stop: bool = True) -> Counting:
    """A call that was expected to take so long, and took `seconds`."""
    loop = Counting()

    async def call() -> None:
        keeping = Eager()
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
    assert turns(0.0009, 0.0005).awake > 20


@pytest.mark.parametrize("expected", [0.0, eager._QUICK_SECONDS, 0.01])
def test_a_slow_or_unknown_call_does_not(expected: float) -> None:
    assert turns(expected, 0.0005).awake < 10


@pytest.mark.parametrize("stop", [True, False])
def test_it_sleeps_again_after_the_call_or_once_that_takes_too_long(stop: bool) -> None:
    loop = turns(0.0009, 0.0 if stop else 0.02, stop)
    assert loop.asleep >= 1
    assert loop.awake < eager._MOST_TURNS
