"""uvicorn's HTTP protocol with the head and the body of an answer in one packet, and one timer for each connection.

uvicorn writes them one after the other: two system calls, and two wake-ups of the client, which together were a third
of the adapter's time (docs/performance.md). Also it sets and cancels a keep-alive timer for each request.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_HEAD_END = b"\r\n\r\n"
_INTERIM = b"HTTP/1.1 1"
# In the scope of a request whose connection ended before its answer.
CLIENT_LEFT = "schwift.client_left"


class _JoiningTransport:
    """A transport that holds back the head of an answer until what follows it is written too.

    At the latest it goes out on the loop's next turn, so that nothing depends on a body coming.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        # Asked for with every answer: not through __getattr__.
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        head = self._head
        if head is not None:
            self._head = None
            self._transport.write(head + data)
        elif data.endswith(_HEAD_END) and not data.startswith(_INTERIM):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._transport.write(head)


class HttpProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=HttpProtocol)`."""

    _idle_since = 0.0
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        joining = _JoiningTransport(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, joining))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        cycle = self.cycle
        if isinstance(cycle, RequestResponseCycle) and not cycle.response_complete:
            cast(dict[str, Any], cycle.scope)[CLIENT_LEFT] = True
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """As uvicorn's, but the timer of the last request goes on where it has not run out."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        remaining = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if busy:
            return  # the end of that request sets the timer again
        if remaining <= 0:
            self.transport.close()
        else:
            self._idle_timer = self.loop.call_later(remaining, self._close_if_idle)
