"""One kept-alive connection to the server: a request at a time, and its answer however it is cut into packets."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

import httptools


class ConnectionOwner(Protocol):
    """Who sends on connections."""

    def opened(self, connection: LoadConnection) -> None:
        """Hear of a connection that is ready for its first request."""

    def answered(self, connection: LoadConnection, status: int, body: bytes, stays: bool) -> None:
        """Hear of an answer; `stays` says whether the server keeps the connection open."""

    def lost(self, connection: LoadConnection, is_http: bool) -> None:
        """Hear of a connection that was closed; `is_http` is false if what came was none of an answer."""


class LoadConnection(asyncio.Protocol):
    """`due` is when the request that it waits for should have left, 0 without one; `number` is which one that is.

    An answer must say how long it is, by Content-Length or in chunks: without, its end and a lost connection are alike.
    """

    def __init__(self, owner: ConnectionOwner) -> None:
        self.due = 0.0
        self.number = 0
        self.received = 0
        self._owner = owner
        self._transport: asyncio.WriteTransport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._is_http = True

    def send(self, request: bytes, number: int, due: float) -> None:
        """Send request `number`, which was due at `due`."""
        assert self._transport is not None and not self.due
        self.due, self.number = due, number
        self._transport.write(request)

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's is one, and does not say so.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._is_http = False
            self.abort()

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body, of which chunks are the parser's."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Pass the answer on."""
        status = self._parser.get_status_code()
        if status < 200:
            # 100 Continue and its like announce the answer.
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        if not self.due:
            # Nobody asked.
            self._is_http = False
            self.abort()
            return
        self._owner.answered(self, status, body, self._parser.should_keep_alive())

    def connection_lost(self, error: Exception | None) -> None:
        """Pass it on."""
        self._owner.lost(self, self._is_http)
