"""Calls whose deadline passed and whose answer has not come: Triton goes on with them all the same.

Each still takes its turn in the model, so a few of them keep further calls of that model waiting here, where they
expire in good order; otherwise clients in a hurry would fill Triton's queue, which has no bound, with work for nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

# The most of one model. More than one, so that a model of several instances is not idle for a single slow call.
_MOST = 4


class OverdueCalls:
    """Count the overdue calls of each Triton model, in one event loop, and give them up when asked."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._closers: dict[str, set[Callable[[], None]]] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def full(self, model: str) -> bool:
        """Return whether so many calls of a model are overdue that the next one has to wait."""
        return self._counts[model] >= _MOST

    def add(self, model: str, close: Callable[[], None]) -> None:
        """Count one more overdue call.

        `close` gives the call up for good; `ended` is to be called when it is answered, and when it is given up.
        """
        self._counts[model] += 1
        self._closers.setdefault(model, set()).add(close)

    def ended(self, model: str, close: Callable[[], None]) -> None:
        """Count a call no longer, and tell those who wait for a change."""
        self._counts[model] -= 1
        self._closers[model].discard(close)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def change(self) -> asyncio.Future[None]:
        """Return a future that is done when the next overdue call ends, of whichever model."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def forget(self, model: str | None = None) -> None:
        """Give up the overdue calls of a model that was unloaded; None: of all models."""
        for name in [model] if model is not None else list(self._closers):
            for close in list(self._closers.get(name, ())):
                close()
