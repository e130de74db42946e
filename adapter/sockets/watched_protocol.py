"""A connection that is watched: what it is at, how long it has been at that, and how it ends before its time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from adapter import errors
from adapter.http.asgi import CLIENT_LEFT
from adapter.sockets import connection_bounds as bounds
from adapter.sockets import listening
from adapter.sockets.joining_transport import Flow, JoiningTransport
from adapter.sockets.refusals import refuse
from adapter.sockets.uvicorn_parts import HttpToolsProtocol, RequestResponseCycle

# What a connection is at.
BOUNDARY, HEAD, BODY = range(3)


class WatchedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, whose connections the sweep ends if they take too long (connection_bounds.py)."""

    flow: Flow
    # The request of a short cut, whose head was read (adapter/sockets/fast_protocol.py).
    _pending: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sweep = bounds.sweep_of(self.server_state, self.loop)
        self._request_parser = self.parser
        self._stage = BOUNDARY
        # What came of the body of the request in hand.
        self._body_bytes = 0
        # Nothing that comes is read any more.
        self._deaf = False
        self._refusal: errors.AdapterError | None = None
        # What came while a request was in hand.
        self._unread: bytes | None = None
        self._idle_since = self.loop.time()
        self._lingers_until = 0.0
        # What the sweep saw coming, since when, and how much of it there was.
        self._seen: tuple[Any, float, int] = (None, 0.0, 0)

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch a connection, or refuse it if too many are open."""
        joining = cast(asyncio.Transport, JoiningTransport(cast(asyncio.Transport, transport), self.loop))
        sock = transport.get_extra_info("socket")
        has_room = sock is None or self.sweep.has_room(sock.fileno())
        super().connection_made(joining)
        self.flow = Flow(joining)
        self._idle_since = self.loop.time()
        self.sweep.start()
        if not has_room:
            self._refuse(errors.Overloaded("Too many connections are open; try again shortly."))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request in hand that its client left, and drop all that the connection kept."""
        cycle = self.cycle
        if isinstance(cycle, RequestResponseCycle) and not cycle.response_complete:
            cast(dict[str, Any], cycle.scope)[CLIENT_LEFT] = True
        super().connection_lost(exc)
        # Nothing keeps what had come of requests: not even until the next garbage collection.
        self._deaf = True
        self._unread = self._pending = self._refusal = None
        self._request_parser = self.scope = self.cycle = None  # type: ignore[assignment]
        self.headers = []
        self._seen = (None, 0.0, 0)

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for a request, in seconds of the loop's clock; None while a request is in hand.

        It is -1 if nothing is read any more: such a connection is the first to go.
        """
        if self._is_busy() or self._stage == BODY or self.transport.is_closing():
            return None
        return -1.0 if self._deaf else self._idle_since

    def close_idle(self) -> None:
        """Close a connection that waits for a request, and read nothing more."""
        self._deaf = True
        self.transport.close()

    def _is_busy(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete

    # Refusals

    def _refuse(self, error: errors.AdapterError) -> None:
        """Answer with this error, after the request in hand, and close; nothing that follows is read."""
        if self._deaf:
            return
        self._deaf = True
        self._pending = self._unread = None
        if self._stage == BODY:
            # The request in hand is the one that is broken.
            cycle = self.cycle
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
            else:
                self._answer_refusal(error)
        elif not self._is_busy():
            self._answer_refusal(error)
        else:
            self._refusal = error
            self.flow.pause_reading()
            self.flow.held = True

    def _answer_refusal(self, error: errors.AdapterError) -> None:
        if self.transport.is_closing():
            return
        client = self.client[0] if self.client else "-"
        self.transport.write(refuse(error, client, self.server_state.default_headers, self.sweep.refusals))
        self._linger()

    def _linger(self) -> None:
        """Write no more, and drop what comes for a moment.

        If the connection were closed at once, what its client still sends would have the system drop the answer on its
        way.
        """
        self._deaf = True
        if self.transport.can_write_eof():
            self._lingers_until = self.loop.time() + bounds.LINGER_SECONDS
            self.transport.write_eof()
            self.flow.held = False
            self.flow.resume_reading()
        else:
            self.transport.close()

    # Time

    def check(self, now: float) -> None:
        """Close what has had its time, or refuse it; called by the sweep with the time of the loop's clock."""
        if self.transport.is_closing():
            return
        if self._lingers_until:
            if now >= self._lingers_until:
                self.transport.abort()
        elif self.flow.write_paused:
            self._check_unread(now)
        elif self._stage == BODY:
            self._check_body(now)
        elif not self._is_busy():
            self._check_waiting(now)

    def _check_unread(self, now: float) -> None:
        size = self.transport.get_write_buffer_size()
        what, since, before = self._seen
        if what is not self.flow or size != before:
            self._seen = (self.flow, now, size)
        elif now - since >= bounds.UNREAD_SECONDS:
            self.transport.abort()

    def _check_body(self, now: float) -> None:
        what, since, before = self._seen
        if what is not self.cycle or self.flow.read_paused:
            self._seen = (self.cycle, now, self._body_bytes)
        elif now - since >= bounds.BODY_SECONDS:
            if self._body_bytes - before < bounds.BODY_BYTES_A_SECOND * (now - since):
                self._refuse_unless_unread(
                    errors.SlowRequest("The request's body comes too slowly: send it at 1 KiB/s or more.")
                )
            else:
                self._seen = (what, now, self._body_bytes)

    def _check_waiting(self, now: float) -> None:
        patience = bounds.HEAD_SECONDS if self.cycle is None else self.timeout_keep_alive
        if self._stage == HEAD:
            what, since, _ = self._seen
            if what is not self.headers:
                self._seen = (self.headers, now, 0)
            elif now - since >= bounds.HEAD_SECONDS - bounds.SWEEP_SECONDS:
                self._refuse_unless_unread(
                    errors.SlowRequest("The request's head did not come in time: send it at once.")
                )
        elif now - self._idle_since >= patience and not self._has_unread():
            self.close_idle()

    def _refuse_unless_unread(self, error: errors.AdapterError) -> None:
        """Refuse what came too slowly, unless it came in time to a loop that stood still."""
        if not self._has_unread():
            self._refuse(error)

    def _has_unread(self) -> bool:
        return listening.has_unread(self.transport)
