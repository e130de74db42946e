"""A line for each request that was refused because of who sent it: never with what was shown, and never a flood."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from adapter.telemetry.access_log import Line

LOGGER = "schwift.audit"
_log = logging.getLogger(LOGGER)
# At once, and then each second.
_MOST_AT_ONCE = 20.0
_PER_SECOND = 2.0


class Audit:
    """Log refused requests, up to some a second; more are only counted, and the next line says how many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left = _MOST_AT_ONCE
        self._last = clock()
        self._unsaid = 0

    def refused(self, status: int, why: str, scope: str, model: str, client: str, key: str, request_id: str) -> None:
        """Log or count a request that was refused with this status.

        `why` is one word, `scope` what the request needed, and `key` the name of the key that it showed, or empty.
        `model` is a name of the manifest, or `-`.
        """
        if not self._may_say():
            self._unsaid += 1
            return
        line = Line(
            status=status, why=why, scope=scope, model=model, client=client, key=key or "-", request_id=request_id
        )
        if self._unsaid:
            line["unsaid_before"], self._unsaid = self._unsaid, 0
        _log.warning(line)

    def tell(self) -> None:
        """Log how many refusals were only counted, if it is quiet again."""
        if self._unsaid and self._may_say():
            unsaid, self._unsaid = self._unsaid, 0
            _log.warning(Line(unsaid_before=unsaid))

    def _may_say(self) -> bool:
        now = self._clock()
        self._left = min(_MOST_AT_ONCE, self._left + (now - self._last) * _PER_SECOND)
        self._last = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
