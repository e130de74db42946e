"""Connections between two calls: the one used last is used next; those that nobody needed for a while are closed."""

from __future__ import annotations

import asyncio

from adapter.backend.connection import Connection

# A load that comes again within this finds its connections. Probes come every ten seconds
# (adapter/lifecycle/liveness.py), and do not keep any between them: twice this is the longest that one stays unused.
_UNUSED_SECONDS = 2.0


class ConnectionPool:
    """Keep the connections that no call uses now.

    `release` is called in a running loop. After `close` none is kept any more.
    """

    def __init__(self) -> None:
        self.closed = False
        self._idle: list[Connection] = []
        # How many have not been taken since the last look.
        self._unused = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def acquire(self) -> Connection | None:
        """Take the connection used last that is still good, as far as is known; None if there is none.

        Triton may have closed it meanwhile.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if len(idle) < self._unused:
                self._unused = len(idle)
            if not connection.broken:
                return connection
        return None

    def release(self, connection: Connection) -> None:
        """Give a connection back for the next call, or close it if it is of no use."""
        if connection.broken or self.closed:
            connection.close()
            return
        self._idle.append(connection)
        if self._timer is None:
            self._look_later()

    def close(self) -> None:
        """Close all connections that are kept, and from now on each that is released."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._idle.pop().close()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_UNUSED_SECONDS, self._close_unused)

    def _close_unused(self) -> None:
        """Close all that no call took since the last look, but one for the next call."""
        for connection in self._idle[1 : self._unused]:
            connection.close()
        del self._idle[1 : self._unused]
        self._unused = len(self._idle)
        self._look_later()
