"""Waiting a moment for the clients that were just answered, where calls are slow.

Clients that ask again as soon as they are answered come back within a millisecond or two. Without a wait the first of
them would go alone, in a call that costs as much as a full one, and all the others would wait for its end. The wait
is short beside the call's own time, ends as soon as everybody is there, and is given up while nobody comes back.
"""

from __future__ import annotations

import asyncio

# Calls that take less are over before anybody could be waited for; the loop's timers count milliseconds.
_SLOW_CALL_SECONDS = 0.004
# The longest wait, as a part of a call's time.
_PART = 0.5
_LONGEST_SECONDS = 0.01
# About what this process needs to answer one request and take the next.
_REQUEST_SECONDS = 0.00006
# How much the newest wait counts in the part of them that everybody came for; below the limit they are given up,
# but for one in so many, to see whether it has changed.
_WEIGHT = 0.2
_WORTH_IT = 0.3
_TRY_EVERY = 16


class Company:
    """The queue of one model."""

    def __init__(self) -> None:
        self._came = 1.0
        self._skipped = 0
        # How many are waited for now.
        self.expected = 0
        self._waiting: asyncio.Future[bool] | None = None

    async def expect(self, requests: int, call_seconds: float) -> None:
        """Wait until so many requests are in the queue, but not long beside a call."""
        longest = min(_PART * call_seconds, _LONGEST_SECONDS)
        if call_seconds < _SLOW_CALL_SECONDS or self._waiting is not None:
            return
        # One has nobody to wait for, and very many cannot be there in time.
        if requests < 2 or requests * _REQUEST_SECONDS > longest:
            return
        if self._came < _WORTH_IT and self._skipped < _TRY_EVERY:
            self._skipped += 1
            return
        self._skipped = 0
        loop = asyncio.get_running_loop()
        self.expected = requests
        waiting = self._waiting = loop.create_future()
        timer = loop.call_later(longest, _end, waiting)
        try:
            all_came = await waiting
        finally:
            timer.cancel()
            self._waiting = None
            self.expected = 0
        self._came += _WEIGHT * (all_came - self._came)

    def arrived(self, queued: int) -> None:
        """One more request is in the queue, so many in all."""
        if self._waiting is not None and queued >= self.expected and not self._waiting.done():
            self._waiting.set_result(True)


def _end(waiting: asyncio.Future[bool]) -> None:
    if not waiting.done():
        waiting.set_result(False)
