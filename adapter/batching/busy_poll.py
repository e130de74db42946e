"""Keeps the event loop awake for the moment that a quick answer takes, and for the client that asks again at once.

Putting a process to sleep and waking it costs more than a small model needs to answer: between two cores about a third
of a lone request's time (docs/performance.md). So while one call of a quick model is in flight, the loop looks for its
answer again and again in place of sleeping, and a moment longer where clients have come back in that moment. It goes on
serving everything else meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# Slower calls are not worth it: the core would be taken from the model. Also the longest time awake.
_QUICK_SECONDS = 0.001
# Each takes a microsecond or two: an end even where the clock stands still.
_MOST_TURNS = 2000
# After an answer: what a client needs to read it and to ask again.
_AFTER_SECONDS = 0.0001
# So many times in a row that nobody came back: from then on it is tried once in a while.
_MOST_MISSED = 8
_TRY_EVERY = 16


class BusyPoll:
    """One per kind of call; `start` before it, `stop` after."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        # Finer than the loop's time, which is whole milliseconds.
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until = 0.0
        self._awake = False
        self._turns = 0
        self._missed = 0
        self._tries = 0

    def start(self, loop: asyncio.AbstractEventLoop, expected_seconds: float) -> None:
        """A call begins that takes about so long; 0 is not known."""
        self._missed = 0 if self._awake else self._missed + 1
        if 0 < expected_seconds < _QUICK_SECONDS:
            self._until = self._clock() + 2 * expected_seconds
            self._turns = 0
            if not self._awake:
                self._awake = True
                self._loop = loop
                loop.call_soon(self._turn)

    def stop(self) -> None:
        """It ended."""
        self._tries += 1
        after = self._awake and (self._missed < _MOST_MISSED or self._tries % _TRY_EVERY == 0)
        self._until = self._clock() + _AFTER_SECONDS if after else 0.0

    def _turn(self) -> None:
        assert self._loop is not None
        # The loop does not sleep while something is to be called at once.
        self._turns += 1
        if self._turns < _MOST_TURNS and self._clock() < self._until:
            self._loop.call_soon(self._turn)
        else:
            self._awake = False
