"""How long to wait before a process that ended is started again."""

from __future__ import annotations

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0
# A process that lived this long was well: the next wait is the first one again.
_WELL_SECONDS = 60.0


class RestartBackoff:
    """0.1 s, then twice as long each time, 10 s at most."""

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS

    def after(self, lived: float) -> float:
        """The wait after a life of so many seconds."""
        if lived >= _WELL_SECONDS:
            self._seconds = _FIRST_SECONDS
        seconds = self._seconds
        self._seconds = min(2 * seconds, _LONGEST_SECONDS)
        return seconds
