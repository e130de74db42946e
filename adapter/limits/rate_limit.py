"""MAX_REQUESTS in REQUESTS_PERIOD_SECONDS, for each client, whichever worker process it comes to.

Who shows a key is known by it, and anybody else by the address. A key may have quotas of its own, of requests and of
rows.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import secrets
import time
from collections.abc import Callable

from adapter.errors import QuotaExceeded
from adapter.limits.api_keys import Caller
from adapter.limits.client_address import quota_address
from adapter.lock import Lock

# Clients that are known at a time: as many groups, of as many places each.
_GROUPS = 2048
_PLACES = 8
# Words of a group: the hash of each place, then of each what was left, when it asked last, and until when it has less
# than one token.
_FIELDS = 3
_GROUP = _PLACES * (1 + _FIELDS)
_WORD_BYTES = 8
# The names of the quotas in the headers, and what they count.
_REQUESTS, _ROWS = (b"default", "requests"), (b"rows", "rows")


class Clients:
    """What each client has left: a table in shared memory, made before the workers fork.

    A client's group follows from a hash that nobody outside can compute, so nobody can aim at another's place. In its
    group a new client takes the place of whoever asked longest ago, but of one that has tokens left before one that has
    none: nobody has his bucket filled by sending others.
    """

    def __init__(self, shared: bool = True) -> None:
        table = memoryview(mmap.mmap(-1, _GROUPS * _GROUP * _WORD_BYTES))
        self._hashes, self._values = table.cast("q"), table.cast("d")
        # One process alone has one thread that comes here: it needs no lock.
        self._lock = Lock("schwift-clients") if shared else None
        self._secret = secrets.token_bytes(16)

    def take(self, client: bytes, amount: float, size: float, rate: float, now: float) -> tuple[bool, float]:
        """Take tokens from a client's bucket, which holds `size` and gets `rate` a second.

        Return whether they were there, and what is left. More than a bucket holds may be taken from a full one,
        which owes the rest.
        """
        with self._lock.held() if self._lock is not None else contextlib.nullcontext():
            return self._take(client, amount, size, rate, now)

    def _take(self, client: bytes, amount: float, size: float, rate: float, now: float) -> tuple[bool, float]:
        # The same in every worker, since they are forks of one process; 0 is an empty place.
        key = hash(self._secret + client) or 1
        start = key % _GROUPS * _GROUP
        values = self._values
        keys = self._hashes[start : start + _PLACES].tolist()
        if key in keys:
            at = start + _PLACES + keys.index(key) * _FIELDS
            tokens = min(size, values[at] + max(0.0, now - values[at + 1]) * rate)
        else:
            place = self._free_place(start, now)
            self._hashes[start + place] = key
            at = start + _PLACES + place * _FIELDS
            tokens = size
        allowed = tokens >= min(amount, size)
        if allowed:
            tokens -= amount
        values[at], values[at + 1] = tokens, now
        values[at + 2] = now + (1 - tokens) / rate if tokens < 1 else 0.0
        return allowed, tokens

    def _free_place(self, start: int, now: float) -> int:
        asked = self._values[start + _PLACES + 1 : start + _GROUP : _FIELDS].tolist()
        spent_until = self._values[start + _PLACES + 2 : start + _GROUP : _FIELDS].tolist()
        return min(range(_PLACES), key=lambda place: (spent_until[place] > now, asked[place]))


class _Bucket:
    """One kind of quota, of `what`: `size` at once, refilled evenly over `period` seconds."""

    __slots__ = ("name", "policy", "rate", "size", "what")

    def __init__(self, name: bytes, what: str, size: int, period: float) -> None:
        self.name, self.what = name, what
        self.size = float(size)
        self.rate = size / period
        self.policy = b'"%b";q=%d;w=%d' % (name, size, math.ceil(period))

    def state(self, left: float) -> bytes:
        """What is left, and the seconds until all is there again."""
        return b'"%b";r=%d;t=%d' % (self.name, max(0.0, left), math.ceil((self.size - left) / self.rate))


class Account:
    """The quotas that one request is held to. `client` is who it comes from, in bytes that nobody else has."""

    __slots__ = ("_client", "_clients", "_clock", "_left", "_requests", "_rows")

    def __init__(
        self,
        clients: Clients,
        clock: Callable[[], float],
        client: bytes,
        requests: _Bucket | None,
        rows: _Bucket | None = None,
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._client = client
        self._requests, self._rows = requests, rows
        self._left: dict[_Bucket, float] = {}

    def take_request(self) -> None:
        """Raise QuotaExceeded, with the seconds until the next request, if there is none left or rows are owed."""
        if self._requests is not None:
            self._take(self._requests, 1)
        if self._rows is not None:
            self._take(self._rows, 0)

    def take_rows(self, rows: int) -> None:
        """Raise QuotaExceeded if these are too many now. More than the whole quota pass when all of it is there."""
        if self._rows is not None:
            self._take(self._rows, rows)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """RateLimit-Policy and RateLimit, as draft-ietf-httpapi-ratelimit-headers has them."""
        return [
            (b"ratelimit-policy", b", ".join([bucket.policy for bucket in self._left])),
            (b"ratelimit", b", ".join([bucket.state(left) for bucket, left in self._left.items()])),
        ]

    def _take(self, bucket: _Bucket, amount: int) -> None:
        client = bucket.name + self._client
        allowed, left = self._clients.take(client, amount, bucket.size, bucket.rate, self._clock())
        self._left[bucket] = left
        if not allowed:
            wait = (min(amount, bucket.size) - left) / bucket.rate
            raise QuotaExceeded(f"This client has used its quota of {bucket.what}; try again later.", retry_after=wait)


class Quota:
    """A token bucket for each client: `requests` at once, refilled evenly over the period; None for no bound.

    Of more clients than the table holds (16,384), some that were quiet for long are forgotten, and start with a full
    bucket.
    """

    def __init__(
        self,
        requests: int | None,
        period: float,
        clients: Clients | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period = period
        self._default = None if requests is None else _Bucket(*_REQUESTS, requests, period)
        self._clients = clients or Clients()
        self._clock = clock

    def account(self, address: str, caller: Caller | None = None) -> Account | None:
        """Those of who shows a key, or of an address; None if there are none."""
        if caller is None:
            if self._default is None:
                return None
            return Account(self._clients, self._clock, quota_address(address).encode(), self._default)
        requests = self._default if caller.requests is None else _Bucket(*_REQUESTS, caller.requests, self._period)
        rows = None if caller.rows is None else _Bucket(*_ROWS, caller.rows, self._period)
        if requests is None and rows is None:
            return None
        return Account(self._clients, self._clock, caller.digest, requests, rows)
