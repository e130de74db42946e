"""How many requests may be in flight, and when a refused one should come back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from adapter.errors import Overloaded

# How much the newest request counts in the running mean of service times.
_WEIGHT = 0.05
_LONGEST_RETRY = 60.0


class Admission:
    """A bound over all models together. Over it, a request is refused at once, not queued."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._seconds = 0.0

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @contextlib.contextmanager
    def permit(self) -> Iterator[None]:
        """Hold one place. Raises Overloaded, with the time in which the bound drains, if there is none."""
        if self._in_flight >= self._limit:
            raise Overloaded(
                "The server is at its bound of requests in flight; try again shortly.",
                retry_after=self.retry_after(),
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def observe(self, seconds: float) -> None:
        """Note how long an answered request took."""
        self._seconds += _WEIGHT * (seconds - self._seconds)

    def retry_after(self) -> float:
        """Whole seconds, at least 1: a full house leaves in about the time that one request takes."""
        return max(1.0, min(_LONGEST_RETRY, math.ceil(self._seconds)))
