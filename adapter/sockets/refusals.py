"""Requests that are refused before any endpoint is known: their answer, and a log that they cannot flood."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable

import httptools

from adapter import errors
from adapter.error_codes import STATUS_OF
from adapter.http.answer import Answer
from adapter.http.error_handlers import error_body
from adapter.sockets.uvicorn_parts import STATUS_LINE

_log = logging.getLogger("schwift.adapter")
_LINES_A_SECOND = 5


class RefusalLog:
    """Writes one line for each refusal, at most a handful a second, and then how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, lines_a_second: int = _LINES_A_SECOND) -> None:
        self._clock = clock
        self._most = lines_a_second
        self._second = -1
        self._written = 0
        self._left_out = 0

    def write(self, status: int, code: str, client: str, request_id: str, why: str) -> None:
        """Log a refusal with its status and why, or only count it if this second has its lines already."""
        self.flush()
        if self._written >= self._most:
            self._left_out += 1
            return
        self._written += 1
        _log.warning("request %s of %s refused: %d %s: %s", request_id, client, status, code, why)

    def flush(self) -> bool:
        """Log how many lines were left out, once their second is over; return whether that is still to be done."""
        second = int(self._clock())
        if second == self._second:
            return self._left_out > 0
        self._second, self._written = second, 0
        if self._left_out:
            _log.warning("%d more requests were refused, whose lines are left out", self._left_out)
            self._left_out = 0
        return False


def refuse(error: errors.AdapterError, client: str, defaults: Iterable[tuple[bytes, bytes]], log: RefusalLog) -> bytes:
    """Log a refusal, and return its whole answer, which closes the connection.

    `defaults` are the headers that every answer has.
    """
    request_id = uuid.uuid4().hex
    status, code = STATUS_OF[type(error)]
    log.write(status, code, client, request_id, error.detail)
    body, retry_after = error_body(error, request_id)
    more = [(b"connection", b"close")]
    if retry_after is not None:
        more.append((b"retry-after", b"%d" % retry_after))
    kept = b"".join([b"%b: %b\r\n" % header for header in defaults if header[0].lower() != b"connection"])
    return Answer(status, body, request_id, more).head(STATUS_LINE[status], kept) + body


def cause_of(error: httptools.HttpParserError) -> errors.AdapterError:
    """Return the error that a callback of ours raised, or else one in the parser's words, which echo nothing."""
    cause = error.__context__
    if isinstance(cause, errors.AdapterError):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        return errors.MalformedRequest("The request's target is not a path.")
    return errors.MalformedRequest(f"The request is not HTTP/1.1: {error}.")
