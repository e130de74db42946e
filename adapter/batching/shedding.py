"""Which of the requests that queue can still be answered in time, by what calls take now.

First in, first out alone fails a model that cannot keep up: once the queue is longer than the deadline, each request is
sent when it is about to expire, all of the model's time goes to such requests, and nobody is answered.
"""

from __future__ import annotations

# A request is not sent with less than so many times what a call needs, where others fill the call without it.
_SPARE = 1.5
# Nor with less than once that, unless it waited for less than this part of it: nothing could have answered it sooner,
# and somebody must find out when calls are quicker again.
_FRESH = 0.1
# What a call is taken to need that had no answer in time, in times of what it was given.
_LONGER = 1.5
# How much the newest call counts, where it was quicker.
_WEIGHT = 0.1


class LoadShedder:
    """One model's. Seconds of a call are from the moment it is sent, however long it waits in Triton for another."""

    def __init__(self) -> None:
        self._needed = 0.0

    def answered(self, seconds: float) -> None:
        """Slower calls are believed at once, quicker ones by and by."""
        known = self._needed
        self._needed = seconds if seconds > known else known + _WEIGHT * (seconds - known)

    def missed(self, seconds: float) -> None:
        """A call ran into its deadline: how long it would have taken is not known, but that it is longer."""
        self._needed = max(self._needed, _LONGER * seconds)

    def should_drop(self, left: float, waited: float, others: bool) -> bool:
        """Whether a request is not to be sent that has waited so long and has so long left.

        `others`: those behind it fill a call without it.
        """
        if left >= _SPARE * self._needed:
            return False
        return others or (left < self._needed and waited > _FRESH * self._needed)
