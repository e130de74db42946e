"""The end of an adapter process: new requests are refused with a reason, those in flight get their answers.

1. At the signal: /health/ready is 503 `draining`, and so is every new request, each with `Connection: close`. The port
   stays open for a moment, since who connects now, or sends on a kept-alive connection, had no way to know.
2. No new connections. Kept-alive ones are answered as before until nothing is in flight any more.
3. The rest is closed; what is still in flight at the end of the drain is answered 503 `draining` too.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

_LINGER_SECONDS = 0.5
_POLL_SECONDS = 0.05
_CLOSE = (b"connection", b"close")
# Of the drain, for uvicorn's own end.
_CLOSE_SECONDS = 1


class DrainingServer(uvicorn.Server):
    """`drain` is called at the signal, and `config.timeout_graceful_shutdown` bounds all that follows."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], None], linger_seconds: float = _LINGER_SECONDS
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._linger = linger_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drain()
        self._close_new()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.config.timeout_graceful_shutdown or 0) - _CLOSE_SECONDS
        self._close_after_answers()
        lingers = min(loop.time() + self._linger, deadline)
        while self.server_state.connections and loop.time() < lingers:
            await asyncio.sleep(_POLL_SECONDS)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        while self.server_state.tasks and loop.time() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        self.config.timeout_graceful_shutdown = _CLOSE_SECONDS
        await super().shutdown(sockets)
        # uvicorn would raise the signal again, and end by it: this is a good end.
        self._captured_signals.clear()

    def _close_new(self) -> None:
        """Connections of requests that arrive from now on are closed after the answer."""
        if _CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers.append(_CLOSE)

    def _close_after_answers(self) -> None:
        """The same, and those of requests in flight."""
        # Again: uvicorn makes another list each second.
        self._close_new()
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None:
                cycle.keep_alive = False
