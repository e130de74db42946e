"""The keys that clients show: who they are, and what they may do.

A key is looked up by the SHA-256 of the bytes that came, whatever they are. How long that takes says nothing of the
keys that there are: nobody can choose the hash of what he sends.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

from adapter.errors import Forbidden, Unauthenticated
from adapter.limits.access_policy import Need
from converter.errors import ConfigError
from converter.schema.keys_file import ApiKey, hash_key, read_keys

_log = logging.getLogger("schwift.adapter")

Named = Iterable[tuple[bytes, bytes]]
INTERNAL_NAME = "schwift serve"
_NEVER = datetime.fromtimestamp(0, timezone.utc)
# Longer than any key: not worth hashing.
_MOST_BYTES = 512
_MISSING = "This needs a key: send it as X-API-Key, or as Authorization: Bearer."
_WRONG = "The key is not valid: it is unknown, was revoked, or has expired."
_TWO = "The request shows more than one key, or another kind of authorization: send one."
_FORBIDDEN = "The key does not allow this."


class Caller:
    """Who shows a key. `requests` and `rows` are its own quotas, or None."""

    __slots__ = ("_metrics", "_models", "_read", "digest", "end", "name", "requests", "rows")

    def __init__(self, key: ApiKey) -> None:
        self.name = key.name
        self.digest = bytes.fromhex(key.sha256)
        self.requests, self.rows = key.requests, key.rows
        # None for all of them.
        self._models = None if key.predict is True else frozenset(key.predict or ())
        self._read, self._metrics = key.read, key.metrics
        # When it expires.
        self.end = math.inf if key.expires is None else key.expires.timestamp()

    def may(self, need: Need) -> bool:
        """Return whether the key allows what a path needs."""
        match need.scope:
            case "predict":
                return self._models is None or need.model in self._models
            case "free":
                return True
            case "read":
                return self._read
            case "metrics":
                return self._metrics
            case "everything":
                return self._models is None and self._read and self._metrics


class ApiKeys:
    """Follow the file of keys, on `refresh`. A file that is broken at the start leaves the `internal` key alone."""

    def __init__(self, path: Path, internal: str | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._internal: list[Caller] = []
        if internal is not None:
            # `schwift serve` as a caller, which asks for /health.
            key = ApiKey.model_construct(name=INTERNAL_NAME, sha256=hash_key(internal), created=_NEVER, read=True)
            self._internal.append(Caller(key))
        self._seen: tuple[int, ...] | None = ()
        self._callers = {caller.digest: caller for caller in self._internal}
        self.refresh()

    def refresh(self) -> None:
        """Take over the file if it changed; while it is broken, what was read before holds, and that is said once."""
        seen = _signature(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            callers = [*map(Caller, read_keys(self._path)), *self._internal]
        except ConfigError as error:
            _log.error("the API keys stay as they were: %s", error)
            return
        self._callers = {caller.digest: caller for caller in callers}

    def admit(self, named: Named, need: Need) -> Caller:
        """Return who shows a valid key that allows this.

        Raises: Unauthenticated if no valid key is shown, or more than one; Forbidden if the key does not allow it.
        """
        return self.admit_digest(digest_of(named), need)

    def admit_digest(self, digest: bytes, need: Need) -> Caller:
        """Do as `admit`, for headers that were looked at before: many requests of a connection have the same."""
        caller = self._callers.get(digest)
        if caller is None or not hmac.compare_digest(caller.digest, digest):
            raise Unauthenticated(_WRONG, why="unknown")
        if self._clock() >= caller.end:
            raise Unauthenticated(_WRONG, why="expired")
        if not caller.may(need):
            raise Forbidden(_FORBIDDEN, why="scope", key=caller.name)
        return caller


def digest_of(named: Named) -> bytes:
    """Return the SHA-256 of the key that these headers show; raise Unauthenticated as `credential` does."""
    return hashlib.sha256(credential(named)).digest()


def credential(named: Named) -> bytes:
    """Return the one key that these headers show, as it came.

    Raises: Unauthenticated if they show none, more than one, one that is too long, or another kind of authorization.
    """
    found: bytes | None = None
    for name, value in named:
        if name == b"x-api-key":
            # White space around a value is none of it (RFC 9110 §5.5), and not every parser takes it off.
            key = value.strip(b" \t")
        elif name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthenticated(_TWO, why="scheme")
            key = key.strip(b" \t")
        else:
            continue
        if found is not None and found != key:
            raise Unauthenticated(_TWO, why="several")
        found = key
    if not found:
        raise Unauthenticated(_MISSING, why="missing")
    if len(found) > _MOST_BYTES:
        raise Unauthenticated(_WRONG, why="unknown")
    return found


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what tells one state of the file from the next; None while there is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
