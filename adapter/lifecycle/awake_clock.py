"""Time as the event loop lives it: while the loop stands still, so does this clock.

Whatever stops the loop (SIGSTOP, a machine that is suspended, a step that takes seconds) keeps it from reading answers
that have come. Silence in that time is our own: no model may be called hung for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

_log = logging.getLogger("schwift.adapter")

# The clock is read at least so often while the loop turns.
_BEAT_SECONDS = 0.5
# The most that it goes on from one reading to the next: more is our own sleep.
MOST_SECONDS = 1.0


class AwakeClock:
    """A clock, in seconds, that stands still while its event loop does.

    `beat` is a task of that loop. `clock`, the underlying one, goes on all the while.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._read = clock()
        self._slept = 0.0
        # When the last sleep ended.
        self._woke = float("-inf")

    def time(self) -> float:
        """Return the underlying clock's time, less the seconds that the loop stood still."""
        now = self.clock()
        over = now - self._read - MOST_SECONDS
        if over > 0:
            self._slept += over
            self._woke = now
        self._read = now
        return now - self._slept

    def slept_since(self, moment: float) -> bool:
        """Return whether the loop has stood still since a moment of the underlying clock."""
        self.time()
        return self._woke > moment

    async def beat(self, also: Callable[[], None]) -> None:
        """Read the clock twice a second, so that a gap shows that the loop stood still, and call `also`; for ever.

        More than MOST_SECONDS between two readings is such a gap. `also` is what else is due about so often: each task
        of its own would wake an idle server.
        """
        while True:
            self.time()
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                also()
            except Exception:
                # A clock that stops would look like a loop that sleeps.
                _log.exception("what is due twice a second failed")
