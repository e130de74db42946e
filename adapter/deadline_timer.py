"""Deadlines of many futures with one timer: a timer each costs as much as the rest of a small request's bookkeeping."""

from __future__ import annotations

import asyncio
from typing import Any

from adapter import errors

# A future ends at most this much after its deadline: no two sweeps are closer.
RESOLUTION = 0.005


class DeadlineTimer:
    """Give each future DeadlineExceeded at its deadline, unless it is done or discarded by then."""

    def __init__(self) -> None:
        self._pending: dict[asyncio.Future[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def add(self, future: asyncio.Future[Any], deadline: float) -> None:
        """Watch a future until its `deadline`, a time of the running loop."""
        self._pending[future] = deadline
        if self._timer is None or deadline < self._due:
            self._set_timer(deadline)

    def discard(self, future: asyncio.Future[Any]) -> None:
        """Watch a future no longer, since it is done.

        A timer that was set for it stays: at worst one sweep finds nothing.
        """
        self._pending.pop(future, None)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        self._timer = asyncio.get_running_loop().call_at(when, self._sweep)

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for future in [future for future, deadline in self._pending.items() if deadline <= now]:
            del self._pending[future]
            if not future.done():
                future.set_exception(errors.DeadlineExceeded(errors.DEADLINE))
        self._timer = None
        if self._pending:
            self._set_timer(max(min(self._pending.values()), now + RESOLUTION))
