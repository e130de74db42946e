"""MAX_REQUESTS in REQUESTS_PERIOD_SECONDS, for each client, whichever worker process it comes to."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable

from adapter.errors import QuotaExceeded
from adapter.lock import Lock

# Clients that are known at a time: as many groups, of as many places each.
_GROUPS = 2048
_PLACES = 8
_GROUP = struct.Struct("=" + "Qdd" * _PLACES)
_PLACE = struct.Struct("=Qdd")
_KEY_BITS = (1 << 64) - 1


class Clients:
    """What each client has left: a table in shared memory, made before the workers fork.

    A client's group follows from its hash; there it takes the place of whoever asked longest ago.
    """

    def __init__(self) -> None:
        self._table = mmap.mmap(-1, _GROUPS * _GROUP.size)
        self._lock = Lock("schwift-clients")

    def update(self, client: str, change: Callable[[float, float], float], full: float, now: float) -> float:
        """Tokens of a client, after `change(tokens, seconds since)`; one that is not known has `full`."""
        # The same in every worker, since they are forks of one process; 0 is an empty place.
        key = hash(client) & _KEY_BITS or 1
        start = key % _GROUPS * _GROUP.size
        with self._lock.held():
            group = _GROUP.unpack_from(self._table, start)
            keys, times = group[::3], group[2::3]
            if key in keys:
                place = keys.index(key)
                tokens, counted = group[3 * place + 1], times[place]
            else:
                place = times.index(min(times))
                tokens, counted = full, now
            tokens = change(tokens, now - counted)
            _PLACE.pack_into(self._table, start + place * _PLACE.size, key, tokens, now)
        return tokens


class Quota:
    """A token bucket per client: `requests` at once, refilled evenly over the period.

    Of more clients than the table holds, some that were quiet for long are forgotten, and start with a full bucket.
    """

    def __init__(
        self,
        requests: int,
        period: float,
        clients: Clients | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = float(requests)
        self._rate = requests / period
        self._clients = clients or Clients()
        self._clock = clock

    def take(self, client: str) -> None:
        """QuotaExceeded, with the seconds until the next token, where this client has none left."""
        allowed = False

        def change(tokens: float, seconds: float) -> float:
            nonlocal allowed
            tokens = min(self._requests, tokens + seconds * self._rate)
            allowed = tokens >= 1
            return tokens - 1 if allowed else tokens

        left = self._clients.update(client, change, self._requests, self._clock())
        if not allowed:
            raise QuotaExceeded(
                "This client has used its quota of requests; try again later.",
                retry_after=(1 - left) / self._rate,
            )
