"""The hot path: POST /predict… straight from the ASGI server, in front of the framework.

Everything else goes on to the application, which also documents these endpoints. A route of the framework costs more
than all the rest of a request here (docs/performance.md).
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from adapter import errors
from adapter.access import AccessLog
from adapter.bodies import LARGE_BYTES, LargeBodies
from adapter.http_errors import error_body, log_unexpected
from adapter.http_protocol import CLIENT_LEFT, write_answer
from adapter.middleware import accepted_request_id, client_of
from adapter.ratelimit import Quota
from adapter.service import PredictService
from adapter.statuses import STATUS_OF
from adapter.timings import Timings, Traces
from converter.spec.model import ENDPOINTS, Endpoint

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
_CLIENT_LEFT = 499
_JSON = (b"content-type", b"application/json")
# Of a Content-Length or a timeout; more is over any limit.
_MOST_DIGITS = 18
_ENDPOINTS: dict[str, Endpoint] = {str(endpoint): endpoint for endpoint in ENDPOINTS}


class _ClientLeft(Exception):
    """The connection closed before the whole body was there."""


class _Headers:
    """The few headers of a request that matter here, read in one pass. Values are bytes, as they came."""

    __slots__ = ("encoding", "held", "length", "media", "request_id", "timeout")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.media = b"application/json"
        self.length = self.encoding = self.request_id = b""
        self.timeout: bytes | None = None
        # Of the room for large bodies.
        self.held = 0
        for name, value in headers:
            if name == b"content-type":
                self.media = value
            elif name == b"content-length":
                self.length = value
            elif name == b"content-encoding":
                self.encoding = value
            elif name == b"x-request-id":
                self.request_id = value
            elif name == b"x-request-timeout-ms":
                self.timeout = value


class HotPath:
    """An ASGI application in front of another."""

    def __init__(
        self,
        app: ASGIApp,
        service: PredictService,
        quota: Quota | None,
        max_body_bytes: int,
        access: AccessLog,
        traces: Traces | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._traces = traces
        self._service = service
        self._quota = quota
        self._limit = max_body_bytes
        self._bodies = LargeBodies(max_body_bytes)
        # An id is this process's prefix and a number: unique, and cheaper than a random one each.
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def drain(self) -> None:
        """Refuse new requests from now on; those in flight finish."""
        self._service.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            head, _, name = scope["path"][1:].partition("/")
            endpoint = _ENDPOINTS.get(head)
            if endpoint is not None and name and "/" not in name:
                await self._predict(endpoint, name, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _predict(self, endpoint: Endpoint, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = started = time.monotonic()
        headers = _Headers(scope["headers"])
        request_id = accepted_request_id(headers.request_id) or f"{self._prefix}{next(self._numbers):08x}"
        target = self._service.find(name, endpoint)
        timings = Timings()
        if self._traces is not None:
            known = None if target is None else name
            timings.trace = self._traces.begin(scope["headers"], endpoint, known, request_id)
        status, code, retry_after = 200, "ok", None
        try:
            if self._quota is not None:
                self._quota.take(client_of(scope))
            if target is None:
                raise self._service.missing(name, endpoint)
            timeout = None if headers.timeout is None else _timeout(headers.timeout)
            _check_media(headers)
            body = await self._read(headers, receive)
            started = time.monotonic()
            content = await self._service.predict(target, body, timeout, timings)
        except errors.AdapterError as error:
            status, code = STATUS_OF[type(error)]
            content, retry_after = error_body(error, request_id)
        except _ClientLeft:
            status, code, content = _CLIENT_LEFT, "client_left", b""
        except Exception as error:
            status, code = 500, "internal_error"
            content = log_unexpected(error, request_id)
        finally:
            if headers.held:
                self._bodies.leave(headers.held)
        if CLIENT_LEFT in scope:
            # It was answered all the same, since others may be in the same call; but not to anybody.
            status, code = _CLIENT_LEFT, "client_left"
        now = time.monotonic()
        # An unknown model is counted nowhere: never under a label of the client's choosing.
        if target is not None:
            if status == 200:
                target.tally.answered(now - started, timings.rows, timings.queue, timings.model)
            else:
                target.tally.failed(code)
        if self._access.wants(status):
            self._access.predict(
                request_id, endpoint, name if target else "-", client_of(scope), timings, status, code, now - arrived
            )
        if timings.trace is not None:
            timings.trace.finish(timings, status, code)
        if status != _CLIENT_LEFT:
            await _respond(send, status, content, request_id, retry_after)

    async def _read(self, headers: _Headers, receive: Receive) -> bytes:
        """The whole body. BodyTooLarge before more than the limit is held."""
        length = headers.length
        if length.isdigit():
            if len(length) > _MOST_DIGITS or int(length) > self._limit:
                raise self._too_large()
            if int(length) > LARGE_BYTES:
                headers.held = self._bodies.enter(int(length))
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= self._limit:
            return body
        chunks: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                raise self._too_large()
            if size > LARGE_BYTES and not headers.held:
                # It did not say how large it will be.
                headers.held = self._bodies.enter(self._limit)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)
            message = await receive()

    def _too_large(self) -> errors.BodyTooLarge:
        return errors.BodyTooLarge(f"The body is over the limit of {self._limit} bytes: send fewer rows a request.")


def _check_media(headers: _Headers) -> None:
    media = headers.media
    if media != b"application/json":
        media = media.partition(b";")[0].strip().lower()
        if media != b"application/json" and not (media.startswith(b"application/") and media.endswith(b"+json")):
            raise errors.UnsupportedMedia("The body must be JSON: send it with Content-Type: application/json.")
    if headers.encoding and headers.encoding.lower() != b"identity":
        raise errors.UnsupportedMedia("A compressed body is not taken: send it without Content-Encoding.")


def _timeout(text: bytes) -> float:
    """The client's own deadline, in seconds."""
    if not text.isdigit() or int(text[:_MOST_DIGITS]) == 0:
        raise errors.BadHeader(f"{TIMEOUT_HEADER} must be a positive whole number of milliseconds.")
    return int(text[:_MOST_DIGITS]) / 1e3


async def _respond(send: Send, status: int, content: bytes, request_id: str, retry_after: int | None) -> None:
    # An id is letters, digits and a few signs, whoever chose it.
    known, size = request_id.encode(), len(content)
    again = b"" if retry_after is None else b"retry-after: %d\r\n" % retry_after
    lines = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n" % (size, known, again)
    if write_answer(send, status, lines, content):
        return
    headers = [_JSON, (b"content-length", b"%d" % size), (b"x-request-id", known)]
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
