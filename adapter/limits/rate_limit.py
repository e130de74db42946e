"""MAX_REQUESTS in REQUESTS_PERIOD_SECONDS, for each client, whichever worker process it comes to.

Who shows a key is known by it, and anybody else by the address. A key may have quotas of its own, of requests and of
rows.
"""

from __future__ import annotations

import math
import mmap
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from adapter.errors import QuotaExceeded
from adapter.limits.api_keys import Caller
from adapter.limits.client_address import quota_address
from adapter.workers.process_lock import ProcessLock

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
        self._lock = ProcessLock("schwift-clients") if shared else None
        self._secret = secrets.token_bytes(16)

    def take(self, client: bytes, amount: float, bucket: Bucket, now: float) -> tuple[bool, float]:
        """Take tokens from a client's bucket.

        Return whether they were there, and what is left. More than a bucket holds may be taken from a full one,
        which owes the rest.
        """
        if self._lock is None:
            return self._take(client, amount, bucket, now)
        with self._lock.held():
            return self._take(client, amount, bucket, now)

    def _take(self, client: bytes, amount: float, bucket: Bucket, now: float) -> tuple[bool, float]:
        # The same in every worker, since they are forks of one process; 0 is an empty place.
        key = hash(self._secret + bucket.name + client) or 1
        start = key % _GROUPS * _GROUP
        values, size, rate = self._values, bucket.size, bucket.rate
        place = self._place(start, key)
        if place is not None:
            at = start + _PLACES + place * _FIELDS
            passed = now - values[at + 1]
            tokens = values[at] + passed * rate if passed > 0 else values[at]
            if tokens > size:
                tokens = size
        else:
            place = self._free_place(start, now)
            self._hashes[start + place] = key
            at = start + _PLACES + place * _FIELDS
            tokens = size
        allowed = tokens >= (amount if amount < size else size)
        if allowed:
            tokens -= amount
        values[at], values[at + 1] = tokens, now
        values[at + 2] = now + (1 - tokens) / rate if tokens < 1 else 0.0
        return allowed, tokens

    def _place(self, start: int, key: int) -> int | None:
        hashes = self._hashes
        for place in range(_PLACES):
            if hashes[start + place] == key:
                return place
        return None

    def _free_place(self, start: int, now: float) -> int:
        asked = self._values[start + _PLACES + 1 : start + _GROUP : _FIELDS].tolist()
        spent_until = self._values[start + _PLACES + 2 : start + _GROUP : _FIELDS].tolist()
        return min(range(_PLACES), key=lambda place: (spent_until[place] > now, asked[place]))


class Bucket:
    """One kind of quota, of `what`: `size` at once, refilled evenly over `period` seconds."""

    __slots__ = ("header", "name", "policy", "rate", "size", "what")

    def __init__(self, name: bytes, what: str, size: int, period: float) -> None:
        self.name, self.what = name, what
        self.size = float(size)
        self.rate = size / period
        self.policy = b'"%b";q=%d;w=%d' % (name, size, math.ceil(period))
        self.header = b"ratelimit-policy", self.policy

    def state(self, left: float) -> bytes:
        """Return the header that says what is left, and the seconds until all is there again."""
        return b'"%b";r=%d;t=%d' % (self.name, left if left > 0 else 0, math.ceil((self.size - left) / self.rate))


def _exceeded(bucket: Bucket, amount: int, left: float) -> QuotaExceeded:
    wait = (min(amount, bucket.size) - left) / bucket.rate
    return QuotaExceeded(f"This client has used its quota of {bucket.what}; try again later.", retry_after=wait)


@dataclass(eq=False, slots=True)
class Account:
    """The quotas that one request is held to. `_client` is who sent it, in bytes that nobody else has."""

    _clients: Clients
    _clock: Callable[[], float]
    _client: bytes
    _requests: Bucket | None
    _rows: Bucket | None = None
    # None until they are asked.
    _requests_left: float | None = field(default=None, init=False)
    _rows_left: float | None = field(default=None, init=False)

    def take_request(self) -> None:
        """Take one request; raise QuotaExceeded if none is left, or rows are owed."""
        if self._requests is not None:
            allowed, self._requests_left = self._clients.take(self._client, 1, self._requests, self._clock())
            if not allowed:
                raise _exceeded(self._requests, 1, self._requests_left)
        if self._rows is not None:
            self.take_rows(0)

    def take_rows(self, rows: int) -> None:
        """Take so many rows. More than the whole quota pass when all of it is there.

        Raises: QuotaExceeded if these are too many now.
        """
        if self._rows is not None:
            allowed, self._rows_left = self._clients.take(self._client, rows, self._rows, self._clock())
            if not allowed:
                raise _exceeded(self._rows, rows, self._rows_left)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return RateLimit-Policy and RateLimit, as draft-ietf-httpapi-ratelimit-headers has them."""
        requests, left = self._requests, self._requests_left
        rows, rows_left = self._rows, self._rows_left
        if rows is None or rows_left is None:
            return [] if requests is None or left is None else [requests.header, (b"ratelimit", requests.state(left))]
        if requests is None or left is None:
            return [rows.header, (b"ratelimit", rows.state(rows_left))]
        return [
            (b"ratelimit-policy", b"%b, %b" % (requests.policy, rows.policy)),
            (b"ratelimit", b"%b, %b" % (requests.state(left), rows.state(rows_left))),
        ]


class Quota:
    """A token bucket for each client: `requests` at once, refilled evenly over `period` seconds; None for no bound.

    If more clients come than the table holds (16,384), some that were quiet for long are forgotten, and start with a
    full bucket.
    """

    def __init__(
        self, requests: int | None, period: float, clients: Clients, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._period = period
        self._default = None if requests is None else Bucket(*_REQUESTS, requests, period)
        # Those of keys, by their sizes.
        self._of_keys: dict[tuple[int | None, int | None], tuple[Bucket | None, Bucket | None]] = {}
        self._clients = clients
        self._clock = clock

    def account(self, address: str, caller: Caller | None = None) -> Account | None:
        """Return the quotas of who shows a key, or of an address; None if there are none."""
        if caller is None:
            if self._default is None:
                return None
            return Account(self._clients, self._clock, quota_address(address).encode(), self._default)
        sizes = caller.requests, caller.rows
        requests, rows = self._of_keys.get(sizes) or self._buckets(*sizes)
        if requests is None and rows is None:
            return None
        return Account(self._clients, self._clock, caller.digest, requests, rows)

    def _buckets(self, requests: int | None, rows: int | None) -> tuple[Bucket | None, Bucket | None]:
        found = (
            self._default if requests is None else Bucket(*_REQUESTS, requests, self._period),
            None if rows is None else Bucket(*_ROWS, rows, self._period),
        )
        self._of_keys[requests, rows] = found
        return found
