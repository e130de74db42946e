"""Waiting a moment for the clients that were just answered, where calls are not quick.

Clients that ask again as soon as they are answered come back within a millisecond or two. Without a wait the first of
them would go alone, in a call that costs as much as a full one, and all the others would wait for its end. The wait
is shorter than the call, ends as soon as everybody is there, and is given up while nobody comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Calls that take less are over before anybody could be waited for.
_LEAST_CALL_SECONDS = 0.001
# The longest wait, as a part of a call's time. Who goes along after it is answered sooner than after the next call.
_PART = 0.75
_LONGEST_SECONDS = 0.01
# The loop's timers count milliseconds; shorter waits are ended by a finer clock.
_TIMER_SECONDS = 0.003
# A turn of the loop takes a microsecond or two: an end even where that clock stands still.
_MOST_TURNS = 4000
# About what this process and a client need from one request to the next.
_REQUEST_SECONDS = 0.00004
# How much the newest wait counts in the part of them that everybody came for; below the limit they are given up.
_WEIGHT = 0.2
_WORTH_IT = 0.3
# Then one in so many calls tries whether that has changed, and in ever more while it has not. The most are for waits
# as long as a call: one in a hundred requests must not notice. Where waits are short beside it, so may the pauses be.
_TRY_EVERY = 16
_TRY_AT_LEAST = 256


class Linger:
    """The queue of one model. `clock` is finer than the loop's time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._came = 1.0
        self._skipped = 0
        self._try_every = _TRY_EVERY
        # How many are waited for now.
        self.expected = 0
        self._waiting: asyncio.Future[bool] | None = None

    async def wait(self, requests: int, call_seconds: float) -> None:
        """Wait until so many requests are in the queue, but not long beside a call."""
        if call_seconds < _LEAST_CALL_SECONDS or self._waiting is not None:
            return
        longest = min(_PART * call_seconds, _LONGEST_SECONDS)
        # One has nobody to wait for, and very many cannot be there in time.
        if requests < 2 or requests * _REQUEST_SECONDS > longest:
            return
        if self._came < _WORTH_IT and self._skipped < self._try_every:
            self._skipped += 1
            return
        self._skipped = 0
        given_up = self._came < _WORTH_IT
        all_came = await self._wait(requests, longest)
        self._came += _WEIGHT * (all_came - self._came)
        if all_came:
            self._try_every = _TRY_EVERY
        elif given_up:
            most = max(_TRY_EVERY, int(_TRY_AT_LEAST * longest / call_seconds))
            self._try_every = min(2 * self._try_every, most)

    async def _wait(self, requests: int, longest: float) -> bool:
        """Whether they all came in that time."""
        loop = asyncio.get_running_loop()
        self.expected = requests
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting = waiting
        try:
            if longest >= _TIMER_SECONDS:
                timer = loop.call_later(longest, _end, waiting)
                try:
                    return await waiting
                finally:
                    timer.cancel()
            ends = self._clock() + longest
            for _ in range(_MOST_TURNS):
                if waiting.done() or self._clock() >= ends:
                    break
                # The loop does not sleep while there is something to go on with.
                await asyncio.sleep(0)
            return waiting.done()
        finally:
            self._waiting = None
            self.expected = 0

    def arrived(self, queued: int) -> None:
        """One more request is in the queue, so many in all."""
        if self._waiting is not None and queued >= self.expected and not self._waiting.done():
            self._waiting.set_result(True)


def _end(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(False)
