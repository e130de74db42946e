"""When one more call may start beside those in flight: the rules of a model's batcher, and of a pack's."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from adapter.batching.call_times import MeanTime
from adapter.batching.linger import Arriving, Linger

# Full calls beyond one for each instance: the model finds the next one when it has ended one.
AHEAD = 2


class WaitingRows(Arriving, Protocol):
    """What waits for a call."""

    @property
    def rows(self) -> int:
        """How many rows wait."""


class CallRules(ABC):
    """Start calls of one Triton model, as many as may be under way (the class Batcher says which).

    `most_rows` is how many rows a call takes. `clock` is finer than the loop's time.
    """

    def __init__(
        self, queue: WaitingRows, times: MeanTime, instances: int, most_rows: int, clock: Callable[[], float]
    ) -> None:
        self._queue = queue
        self._times = times
        self._linger = Linger(queue, times, clock)
        self._instances = instances
        self._most_rows = most_rows
        self._ahead = AHEAD
        self._calls = 0
        # The loop holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make calls, one after the other, until none may start."""

    def _may_call(self, others: int) -> bool:
        """Return whether one more call may start beside so many, if rows wait."""
        over = others - self._instances
        return over < 0 or (over < self._ahead and self._is_full())

    def _is_full(self) -> bool:
        """Return whether what waits fills a call."""
        return self._queue.rows >= self._most_rows

    def _start_call(self, loop: asyncio.AbstractEventLoop) -> None:
        # A task begins on the loop's next turn, so what arrived in this one goes along.
        self._calls += 1
        self._start(loop, self._call(loop))

    def _call_again(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a call if rows wait and one more may be under way."""
        if self._queue.rows and self._may_call(self._calls):
            self._start_call(loop)

    def _start(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drain_seconds(self) -> float:
        """Return how long what waits takes to be sent, in full calls."""
        return -(-self._queue.rows // self._most_rows) * self._times.mean / self._instances
