"""Waiting a moment for the clients that were just answered.

Clients that ask again as soon as they are answered come back within a millisecond or two. Without a wait the first of
them would go alone, in a call that costs as much as a full one, and all the others would wait for its end. The wait
is shorter than the call, ends as soon as everybody is there, and is given up while nobody comes back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from adapter.batching.call_times import MeanTime

# Calls quicker than this are over before anybody could be waited for.
_TOO_QUICK_SECONDS = 0.0001
# The longest wait, as a part of a call's time. Who goes along after it is answered sooner than after the next call.
_PART = 0.75
_LONGEST_SECONDS = 0.01
# The loop's timers count milliseconds; shorter waits are ended by a finer clock.
_TIMER_SECONDS = 0.003
# A turn of the loop takes a microsecond or two: an end even if that clock stands still.
_MOST_TURNS = 4000
# About what this process and a client need from one request to the next.
_REQUEST_SECONDS = 0.00004
# How much the newest wait counts in the part of them that everybody came for; below the limit they are given up.
WEIGHT = 0.2
WORTH_IT = 0.3
# Then one in so many calls tries whether that has changed, and in ever more while it has not. The most are for waits
# as long as a call: one in a hundred requests must not notice. If waits are short beside it, so may the pauses be.
TRY_EVERY = 16
_TRY_AT_LEAST = 256


class Arriving(Protocol):
    """A queue that tells of requests that come to it."""

    def reach(self, requests: int) -> asyncio.Future[bool]:
        """Return a future that is True as soon as one more has come and so many wait."""


class Linger:
    """Wait for the clients of one model, of one pack, or of all models that share the cores.

    `clock` is finer than the loop's time. Fewer than `least` requests are not waited for, and none for longer than
    `longest` seconds. `expected` is how many are waited for now, 0 for none.
    """

    def __init__(
        self,
        queue: Arriving,
        call_times: MeanTime,
        clock: Callable[[], float],
        least: int = 2,
        longest: float = _LONGEST_SECONDS,
    ) -> None:
        self._queue = queue
        self._call_times = call_times
        self._clock = clock
        self._least = least
        self._longest = longest
        self._came = 1.0
        # How long the last wait might have been that not everybody came for.
        self._too_short = math.inf
        self._skipped = 0
        self._try_every = TRY_EVERY
        self.expected = 0

    async def wait(self, requests: int) -> None:
        """Wait until so many requests are in the queue, but not long beside a call."""
        call_seconds = self._call_times.mean
        if call_seconds < _TOO_QUICK_SECONDS or self.expected:
            return
        longest = min(_PART * call_seconds, self._longest)
        # One alone has nobody to wait for, and very many cannot be there in time.
        if requests < self._least or requests * _REQUEST_SECONDS > longest:
            return
        # A wait of twice the time is another matter.
        if longest >= 2 * self._too_short:
            self._came, self._too_short = 1.0, math.inf
        if self._came < WORTH_IT and self._skipped < self._try_every:
            self._skipped += 1
            return
        self._skipped = 0
        given_up = self._came < WORTH_IT
        all_came = await self._wait(requests, longest)
        self._came += WEIGHT * (all_came - self._came)
        if all_came:
            self._try_every, self._too_short = TRY_EVERY, math.inf
            return
        self._too_short = longest
        if given_up:
            most = max(TRY_EVERY, int(_TRY_AT_LEAST * longest / call_seconds))
            self._try_every = min(2 * self._try_every, most)

    async def _wait(self, requests: int, longest: float) -> bool:
        """Return whether they all came in that time."""
        self.expected = requests
        reached = self._queue.reach(requests)
        try:
            if longest >= _TIMER_SECONDS:
                timer = asyncio.get_running_loop().call_later(longest, _give_up, reached)
                try:
                    return await reached
                finally:
                    timer.cancel()
            ends = self._clock() + longest
            for _ in range(_MOST_TURNS):
                if reached.done() or self._clock() >= ends:
                    break
                # The loop does not sleep while there is something to go on with.
                await asyncio.sleep(0)
            return reached.done()
        finally:
            reached.cancel()
            self.expected = 0


def _give_up(reached: asyncio.Future[bool]) -> None:
    if not reached.done():
        reached.set_result(False)
