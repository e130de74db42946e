"""MAX_REQUESTS in REQUESTS_PERIOD_SECONDS, for each client, whichever worker process it comes to.

Who shows a key is known by it, and anybody else by the address. A key may have quotas of its own, of requests and of
rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import mmap
import secrets
import struct
import time
from collections.abc import Callable

from adapter.errors import QuotaExceeded
from adapter.limits.api_keys import Caller
from adapter.limits.client_address import quota_address
from adapter.lock import Lock

# Clients that are known at a time: as many groups, of as many places each.
_GROUPS = 2048
_PLACES = 8
# Of each: its key, what was left, when it asked last, and until when it has less than one token.
_GROUP = struct.Struct("=" + "Qddd" * _PLACES)
_PLACE = struct.Struct("=Qddd")
_KEY = struct.Struct("=Q")
# The names of the quotas in the headers, and what they count.
_REQUESTS, _ROWS = (b"default", "requests"), (b"rows", "rows")


class Clients:
    """What each client has left: a table in shared memory, made before the workers fork.

    A client's group follows from a hash that nobody outside can compute, so nobody can aim at another's place. In its
    group a new client takes the place of whoever asked longest ago, but of one that has tokens left before one that has
    none: nobody has his bucket filled by sending others.
    """

    def __init__(self, shared: bool = True) -> None:
        self._table = mmap.mmap(-1, _GROUPS * _GROUP.size)
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
        # 0 is an empty place.
        (key,) = _KEY.unpack(hashlib.blake2b(client, digest_size=8, key=self._secret).digest())
        key = key or 1
        start = key % _GROUPS * _GROUP.size
        group = _GROUP.unpack_from(self._table, start)
        keys, times = group[::4], group[2::4]
        if key in keys:
            place = keys.index(key)
            tokens = min(size, group[4 * place + 1] + max(0.0, now - times[place]) * rate)
        else:
            spent = group[3::4]
            place = min(range(_PLACES), key=lambda i: (spent[i] > now, times[i]))
            tokens = size
        allowed = tokens >= min(amount, size)
        if allowed:
            tokens -= amount
        until = now + (1 - tokens) / rate if tokens < 1 else 0.0
        _PLACE.pack_into(self._table, start + place * _PLACE.size, key, tokens, now, until)
        return allowed, tokens


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
