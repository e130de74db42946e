"""Bound the requests in flight, and say when a refused one should come back."""

from __future__ import annotations

import math

from adapter.errors import Overloaded
from adapter.workers.counters import Cell

# How much the newest request counts in the running mean of service times.
_WEIGHT = 0.05
_LONGEST_RETRY = 60.0


class Admission:
    """Hold one bound for all models and workers together. Over it, a request is refused at once, not queued."""

    def __init__(self, limit: int, in_flight: Cell) -> None:
        self._limit = limit
        self._in_flight = in_flight
        self._seconds = 0.0

    def enter(self) -> None:
        """Take one place until `leave`; raise Overloaded, with the time in which the bound drains, if none is left."""
        # First the mark, then the sum: of two workers that race for the last place, at most one gets it.
        self._in_flight.add(1)
        if self._in_flight.total() > self._limit:
            self._in_flight.add(-1)
            raise Overloaded(
                "The server is at its bound of requests in flight; try again shortly.", retry_after=self.retry_after()
            )

    def leave(self) -> None:
        """Give a place back."""
        self._in_flight.add(-1)

    def observe(self, seconds: float) -> None:
        """Record how many seconds an answered request took."""
        self._seconds += _WEIGHT * (seconds - self._seconds)

    def retry_after(self) -> float:
        """Return whole seconds, at least 1: a full house leaves in about the time that one request takes."""
        return max(1.0, min(_LONGEST_RETRY, math.ceil(self._seconds)))
