"""The end of an adapter process behind load balancers: a lame duck, which serves and says that it will not for long.

1. At the signal /health/ready is 503. For the drain everything is served as before, each answer with
   `Connection: close`, so that a balancer notices, whether it asks for readiness or only finds connections closed.
2. The port closes, once every connection that the kernel had taken is accepted.
3. What is in flight has some seconds left; then it is answered 503 `draining`. Connections that are idle are served
   until nothing is in flight, and then closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

import uvicorn

from adapter.sockets import listening
from adapter.sockets.bounded_protocol import BoundedProtocol

# Another signal after so long ends the drain. Sooner it may be the same one: `timeout`, systemd and terminals send
# theirs to each process of a group, and a parent passes its own on.
_AGAIN_SECONDS = 1.0
# Kept-alive connections are answered for so long after the signal, though there be no drain: their clients do not know.
_KEPT_SECONDS = 1.0
# A connection that was accepted last has so long to send its first request.
_FIRST_REQUEST_SECONDS = 2.0
# In which a handshake that is under way ends.
_HANDSHAKE_SECONDS = 0.05
# The most for accepting what has queued; without a file descriptor it cannot be done.
_ACCEPT_SECONDS = 1.0
_POLL_SECONDS = 0.05
# How often it is looked whether to end: while nobody has asked for it, and in the drain.
_LOOK_SECONDS, _DRAIN_LOOK_SECONDS = 1.0, 0.1
_CLOSE = (b"connection", b"close")
# The part of the time for what is in flight that is left for uvicorn's own end.
_CLOSE_SECONDS = 1


class GracefulServer(uvicorn.Server):
    """A uvicorn server that drains before it ends.

    `on_drain` is called at the signal. The drain lasts `drain_seconds` after SIGTERM and SIGHUP, and no time after
    SIGINT; another signal ends it. `port_ends` says whether the port ends with this process, or others go on to serve
    it.

    The protocol of `config` is a BoundedProtocol, and its `timeout_graceful_shutdown`, in seconds, bounds all that
    follows the drain.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_drain: Callable[[], None],
        drain_seconds: float,
        port_ends: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(config)
        self._port_ends = port_ends
        self._on_drain = on_drain
        self._drain_seconds = drain_seconds
        # When the first signal came, and when the drain ends.
        self._began: float | None = None
        self._ends = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signalled = asyncio.Event()

    @property
    def draining(self) -> bool:
        """Whether a signal has come."""
        return self._began is not None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle uvicorn's signals, and SIGHUP unless that is ignored (nohup)."""
        with super().capture_signals():
            before = signal.getsignal(signal.SIGHUP)
            if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
                yield
                return
            signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the drain, or end it; uvicorn's own method would raise the signal again and end by it."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
            self._ends = now if sig == signal.SIGINT else now + self._drain_seconds
            self._on_drain()
            if self._loop is not None:
                # Not here: a handler interrupts whatever is being written, which would then say one thing of its
                # connection and do another.
                self._loop.call_soon_threadsafe(self._close_after_answers)
                self._loop.call_soon_threadsafe(self._signalled.set)
        elif sig == signal.SIGINT or now - self._began >= _AGAIN_SECONDS:
            self._ends = min(self._ends, now)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, and note the loop, which a signal has to wake."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Serve until the end is due, which is looked for each second and after a signal.

        uvicorn looks ten times a second: much of what an idle server costs.
        """
        # At 0 it renews the date of the answers.
        while not await self.on_tick(0):
            if self.draining:
                await asyncio.sleep(_DRAIN_LOOK_SECONDS)
            else:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._signalled.wait(), _LOOK_SECONDS)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end: the drain is over, or uvicorn says so."""
        over = await super().on_tick(counter)
        if self._began is None:
            return over
        # Again: uvicorn makes another list each second.
        self._close_new()
        return over or time.monotonic() >= self._ends

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, wait for what is in flight, and end as uvicorn does."""
        await self._close_port(sockets or [])
        await self._finish()
        self.config.timeout_graceful_shutdown = _CLOSE_SECONDS
        await super().shutdown(sockets)

    async def _close_port(self, sockets: list[socket.socket]) -> None:
        if self._port_ends():
            for sock in sockets:
                listening.take_no_more(sock)
        deadline = time.monotonic() + _ACCEPT_SECONDS
        await asyncio.sleep(_HANDSHAKE_SECONDS)
        # The loop accepts meanwhile, and so do other workers.
        while any(listening.is_readable(sock.fileno()) for sock in sockets) and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        for server in self.servers:
            server.close()
        for sock in sockets:
            sock.close()

    async def _finish(self) -> None:
        """Wait until everything is answered that was accepted, or there is no more time."""
        now = time.monotonic()
        deadline = now + (self.config.timeout_graceful_shutdown or 0) - _CLOSE_SECONDS
        kept_until = now if self._began is None else self._began + _KEPT_SECONDS
        first_until = now + _FIRST_REQUEST_SECONDS
        while now < deadline:
            busy = bool(self.server_state.tasks)
            if not self._close_idle(now >= kept_until and not busy, now >= first_until) and not busy:
                return
            await asyncio.sleep(_POLL_SECONDS)
            now = time.monotonic()

    def _close_idle(self, kept: bool, new: bool) -> int:
        """Close idle connections, and return how many of them are left open for a moment.

        `kept` is for those that had a request before, `new` for those that never had one. One with unread bytes is left
        open.
        """
        left = 0
        for connection in self._connections():
            cycle, transport = connection.cycle, connection.transport
            if transport.is_closing() or not (cycle is None or cycle.response_complete):
                continue
            if not (new if cycle is None else kept) or listening.has_unread(transport):
                left += 1
            else:
                connection.shutdown()
        return left

    def _connections(self) -> list[BoundedProtocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, BoundedProtocol)]

    def _close_new(self) -> None:
        """Have the connections of requests that arrive from now on closed after the answer."""
        if _CLOSE not in self.server_state.default_headers:
            self.server_state.default_headers.append(_CLOSE)

    def _close_after_answers(self) -> None:
        """Have each connection closed after its answer, which says so, even if its request is in flight already."""
        self._close_new()
        for connection in self._connections():
            cycle: Any = connection.cycle
            # An answer whose head is out has said already that its connection stays.
            if cycle is None or getattr(cycle, "response_started", False):
                continue
            cycle.keep_alive = False
            # A request of seconds ago has a list of its own.
            headers = getattr(cycle, "default_headers", None)
            if headers is not None and _CLOSE not in headers:
                cycle.default_headers = [*headers, _CLOSE]
