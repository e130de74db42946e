"""How many calls may be made a second time: a part of all calls, so that trouble is not doubled by trying again."""

from __future__ import annotations

# Of all calls.
_PART = 0.1
# Saved up at most, for when many connections end at a time.
_MOST = 10.0


class RetryBudget:
    """Allow one repeated call for every ten calls; one more at first, so that the first call may be repeated too."""

    def __init__(self) -> None:
        self._left = 1.0

    def note(self) -> None:
        """Count a call that is made for the first time."""
        if self._left < _MOST:
            self._left += _PART

    def take(self) -> bool:
        """Return whether one more call may be repeated, which then counts as done."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
