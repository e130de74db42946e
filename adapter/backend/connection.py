"""One kept-alive HTTP/1.1 connection to Triton: a request goes out as it is, its answer comes back in parts."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from typing import cast

from adapter import errors

_HEADER_END = b"\r\n\r\n"
# Whole names: one of them ends in the words of another. The last header has no line end any more.
_HEADERS = re.compile(
    rb"\r\n(content-length|inference-header-content-length|connection):[ \t]*([^\r]*)", re.IGNORECASE
).findall
# More than any error text; a header that is longer is not Triton's.
_MOST_HEADER = 64 * 1024
# Heads of answers differ in two lengths alone: most were read before.
_MOST_KNOWN = 256


class _Head:
    """The head of an answer: its status, and the length of the body and of the JSON header in it, in bytes.

    `closes` says that the connection ends with this answer.
    """

    __slots__ = ("closes", "json_length", "length", "status")

    def __init__(self, head: bytes) -> None:
        self.status = int(head[9:12])
        self.length = self.json_length = 0
        self.closes = False
        for name, value in _HEADERS(head):
            key = name.lower()
            if key == b"content-length":
                self.length = int(value)
            elif key == b"inference-header-content-length":
                self.json_length = int(value)
            elif value.lower() == b"close":
                self.closes = True
        self.json_length = self.json_length or self.length


_read_head = functools.lru_cache(maxsize=_MOST_KNOWN)(_Head)


class Response:
    """An answer of Triton: its status, its body, and how many bytes of the body are the JSON header."""

    __slots__ = ("body", "json_length", "status")

    def __init__(self, status: int, json_length: int, body: bytes) -> None:
        self.status = status
        self.json_length = json_length
        self.body = body


class Connection(asyncio.Protocol):
    """Carry one call at a time: `send` a request, then await its answer.

    A connection that is `broken` is not to be used again.
    """

    def __init__(self) -> None:
        self.broken = False
        # Whether any byte came since the last `send`.
        self.heard = False
        # Called with the answer that nobody waits for any more, or with None where the connection ends without it.
        self.on_end: Callable[[Response | None], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._buffer = bytearray()
        # The head of the answer that comes in, once it is whole, and where the body begins.
        self._head: _Head | None = None
        self._start = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, to write requests to."""
        # Not checked: uvloop's transports are of no asyncio class.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Response]:
        """Write a whole HTTP request, and return the future of its answer.

        The future raises UpstreamDown if the connection had ended, or ends before the answer is whole.
        """
        assert self._transport is not None
        self._answer = loop.create_future()
        self.heard = False
        if self.broken or self._transport.is_closing():
            # It ended since it was made or taken, or is about to.
            self.broken = True
            self._answer.set_exception(errors.UpstreamDown(errors.UNREACHABLE, "the connection had ended"))
        else:
            self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Abort the connection; a call that is in flight ends with UpstreamDown."""
        self.broken = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Collect the bytes of an answer, and resolve its future once all of them are there."""
        if self._answer is None:
            self.close()  # bytes that nobody asked for
            return
        self.heard = True
        self._buffer += data
        if self._head is None and not self._find_head():
            return
        assert self._head is not None
        head, end = self._head, self._start + self._head.length
        if len(self._buffer) < end:
            return
        body = bytes(self._buffer[self._start : end])
        if len(self._buffer) > end:
            self.broken = True  # out of step: what follows belongs to no call
        self._buffer.clear()
        self._head = None
        answer, self._answer = self._answer, None
        response = Response(head.status, head.json_length, body)
        if not answer.done():
            answer.set_result(response)
        self._end(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the call that is in flight, if there is one, with UpstreamDown."""
        self.broken = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(errors.UpstreamDown(errors.UNREACHABLE, f"the connection was lost: {exc}"))
        self._end(None)

    def _end(self, response: Response | None) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(response)

    def _find_head(self) -> bool:
        """Return whether the whole head is there, and read it if so."""
        end = self._buffer.find(_HEADER_END)
        if end < 0:
            if len(self._buffer) > _MOST_HEADER:
                self.close()
            return False
        self._head = _read_head(bytes(self._buffer[:end]))
        self._start = end + len(_HEADER_END)
        if self._head.closes:
            self.broken = True
        return True
