"""How long to wait before a model that died is loaded again, and when to leave it."""

from __future__ import annotations

from collections import deque

# The first time at once, then after 1, 2, 4 … seconds.
_FIRST_SECONDS = 1.0
_MOST_SECONDS = 60.0
# So many deaths within so long, and it stays failed.
MOST_DEATHS = 5
WITHIN_SECONDS = 600.0


class CrashBackoff:
    """Counts the deaths of one model, and has it wait longer after each."""

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def died(self, now: float) -> float | None:
        """Count a death; return the seconds until the model is to be loaded again, None if it died too often for that.

        `now` is a time of any one clock, in seconds.
        """
        while self._deaths and now - self._deaths[0] > WITHIN_SECONDS:
            self._deaths.popleft()
        self._deaths.append(now)
        before = len(self._deaths) - 1
        if before + 1 >= MOST_DEATHS:
            return None
        return min(_MOST_SECONDS, _FIRST_SECONDS * 2 ** (before - 1)) if before else 0.0
