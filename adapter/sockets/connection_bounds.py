"""What a connection may hold and for how long, looked after for all connections of a process in one sweep a second."""

from __future__ import annotations

import asyncio
import heapq
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from adapter.sockets.refusals import RefusalLog
from adapter.sockets.uvicorn_parts import ServerState

SWEEP_SECONDS = 1.0
# A head is whole so many seconds after its first byte, and a new connection has sent one by then.
HEAD_SECONDS = 10.0
# In each such stretch of time a body comes at this rate.
BODY_SECONDS = 5.0
BODY_BYTES_A_SECOND = 1024
# A client that takes nothing of its answer for so long has left it.
UNREAD_SECONDS = 75.0
# Who was refused may read the answer for so long, while what it still sends is dropped.
LINGER_SECONDS = 2.0
# One in so many of the descriptors that a process may have is kept for everything but clients.
_RESERVED_PART = 8
_LEAST_RESERVED = 16
_LEAST_CLOSED = 8


@dataclass(frozen=True)
class HeadBounds:
    """The largest head of a request: its first line and headers in bytes, and how many headers."""

    bytes: int = 64 * 1024
    headers: int = 100


class BoundedConnection(Protocol):
    """A connection as the sweep sees it. Times are seconds of the loop's clock."""

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for a request; None while a request is in hand."""

    def check(self, now: float) -> None:
        """Close the connection if it has had its time."""

    def close_idle(self) -> None:
        """Close a connection that waits for a request, and read nothing more."""
        ...


class ConnectionSweep:
    """Checks every connection once a second, and makes room if descriptors run out."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connections: Iterable[BoundedConnection]) -> None:
        self.refusals = RefusalLog()
        self._loop = loop
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Have the connections checked in a second; nothing changes if that is due already."""
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def has_room(self, descriptor: int) -> bool:
        """Return whether the connection with this descriptor may stay; if few are left, close those that idle longest.

        The system gives out the lowest free number, so all below a new one are in use.
        """
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        reserved = max(_LEAST_RESERVED, limit // _RESERVED_PART)
        if limit == resource.RLIM_INFINITY or descriptor < limit - reserved:
            return True
        waiting = [(since, id(one), one) for one in self._connections if (since := one.waits_since) is not None]
        # Several at a time: finding them goes through all connections.
        for *_, one in heapq.nsmallest(max(_LEAST_CLOSED, reserved // 2), waiting):
            one.close_idle()
        return bool(waiting) or descriptor < limit - reserved // 2

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self._connections):
            connection.check(now)
        if self.refusals.flush() or self._connections:
            self.start()


_sweeps: WeakKeyDictionary[ServerState, ConnectionSweep] = WeakKeyDictionary()


def sweep_of(state: ServerState, loop: asyncio.AbstractEventLoop) -> ConnectionSweep:
    """Return the one sweep of a server, and make it when it is first asked for."""
    sweep = _sweeps.get(state)
    if sweep is None:
        # uvicorn types the set by its own protocols; ours add the methods.
        sweep = _sweeps[state] = ConnectionSweep(loop, state.connections)  # type: ignore[arg-type]
    return sweep
