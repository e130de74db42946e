"""Keeps the event loop awake for the moment that a quick answer takes.

Putting a process to sleep and waking it costs more than a small model needs to answer: between two cores about a third
of a lone request's time (docs/performance.md). So while one call of a quick model is in flight, the loop looks for its
answer again and again in place of sleeping. It goes on serving everything else meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from time import monotonic

LINGER = float(os.environ.get("LINGER", "0")) * 1e-6

# Slower calls are not worth it: the core would be taken from the model. Also the longest time awake.
_QUICK_SECONDS = 0.001
# Each takes a microsecond or two: an end even where the clock stands still.
_MOST_TURNS = 2000


class Eager:
    """One per kind of call; `start` before it, `stop` after."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until = 0.0
        self._awake = False
        self._turns = 0

    def start(self, loop: asyncio.AbstractEventLoop, expected_seconds: float) -> None:
        """A call begins that takes about so long; 0 is not known."""
        if 0 < expected_seconds < _QUICK_SECONDS:
            self._until = monotonic() + 2 * expected_seconds
            self._turns = 0
            if not self._awake:
                self._awake = True
                self._loop = loop
                loop.call_soon(self._turn)

    def stop(self) -> None:
        self._until = monotonic() + LINGER if self._awake else 0.0

    def _turn(self) -> None:
        assert self._loop is not None
        # The loop does not sleep while something is to be called at once.
        self._turns += 1
        if self._turns < _MOST_TURNS and monotonic() < self._until:
            self._loop.call_soon(self._turn)
        else:
            self._awake = False
