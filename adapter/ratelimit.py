"""MAX_REQUESTS in REQUESTS_PERIOD_SECONDS, for each client."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from adapter.errors import QuotaExceeded

_MOST_CLIENTS = 10_000


class Quota:
    """A token bucket per client: `requests` at once, refilled evenly over the period.

    Clients beyond the newest 10,000 are forgotten, and start with a full bucket.
    """

    def __init__(self, requests: int, period: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = requests
        self._rate = requests / period
        self._clock = clock
        # client → (tokens, when they were counted)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """QuotaExceeded, with the seconds until the next token, where this client has none left."""
        now = self._clock()
        tokens, counted = self._buckets.pop(client, (float(self._requests), now))
        tokens = min(self._requests, tokens + (now - counted) * self._rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise QuotaExceeded(
                "This client has used its quota of requests; try again later.",
                retry_after=(1 - tokens) / self._rate,
            )
