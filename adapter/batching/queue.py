"""The requests of one model that wait for a call: first in, first out, and bounded."""

from __future__ import annotations

import asyncio
from collections import deque

from adapter.batching.shedding import LoadShedder
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters
from converter.schema.manifest import ModelEntry

# The bound has so many rows for each request that may wait, and is at least so many full calls.
_ROWS_A_PLACE = 16
_LEAST_CALLS_QUEUED = 8


class PendingRequest:
    """The rows of one request, and the future of their answer.

    `shape` is the rows' own, if a model has free axes, and `seen` how many calls had been answered when the request
    came. `came` and `deadline` are the loop's time. `taken_at` is when a call took the request; None while it waits.
    """

    __slots__ = ("answer", "came", "deadline", "features", "rows", "seen", "shape", "taken_at", "timings")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        features: Features,
        deadline: float,
        shape: tuple[int, ...],
        seen: float,
        timings: RequestTimings,
    ) -> None:
        self.features = features
        self.rows = len(features[0])
        self.came = loop.time()
        self.deadline = deadline
        self.answer: asyncio.Future[Texts] = loop.create_future()
        self.shape = shape
        self.seen = seen
        self.timings = timings
        self.taken_at: float | None = None


class PendingQueue:
    """Hold the requests of one model that wait in one worker. `rows` is how many rows they have.

    Its bounds are for all workers together.
    """

    def __init__(self, entry: ModelEntry, worker_counters: WorkerCounters) -> None:
        self.rows = 0
        self._items: deque[PendingRequest] = deque()
        self._call_rows = entry.direct_max_rows
        self._most_requests = entry.queue_size
        self._most_rows = max(entry.queue_size * _ROWS_A_PLACE, entry.direct_max_rows * _LEAST_CALLS_QUEUED)
        self._shown = worker_counters.cell(entry.name, counters.QUEUED)
        self._rows_shown = worker_counters.cell(entry.name, counters.QUEUED_ROWS)
        # Who wants to know when so many requests wait.
        self._awaited = 0
        self._reached: asyncio.Future[bool] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, rows: int) -> bool:
        """Return whether a request of so many rows may wait too."""
        if self._is_within(rows):
            return True
        self._items = deque(item for item in self._items if not item.answer.done())
        self.rows = sum(item.rows for item in self._items)
        self._show()
        return self._is_within(rows)

    def append(self, item: PendingRequest) -> None:
        """Let a request wait, and tell whoever wanted to know of so many."""
        items = self._items
        items.append(item)
        self.rows += item.rows
        self._shown.set(len(items))
        self._rows_shown.set(self.rows)
        reached = self._reached
        if reached is not None and len(items) >= self._awaited and not reached.done():
            reached.set_result(True)

    def reach(self, requests: int) -> asyncio.Future[bool]:
        """Return a future that is True as soon as one more has come and so many wait. The newest one alone counts."""
        self._awaited = requests
        self._reached = reached = asyncio.get_running_loop().create_future()
        return reached

    def take(self, enough: int, shedder: LoadShedder, loop_now: float, now: float) -> list[PendingRequest]:
        """Take the next call's requests from the head, until there are `enough` rows or the next does not fit.

        Expired, cancelled and hopeless requests are dropped. `now` is what their `taken_at` will say.
        """
        batch: list[PendingRequest] = []
        most = room = self._call_rows
        should_drop = shedder.should_drop
        items = self._items
        while items:
            item = items[0]
            others = self.rows - item.rows >= most
            # Its deadline answers it.
            if item.answer.done() or should_drop(item.deadline - loop_now, loop_now - item.came, others):
                self.rows -= items.popleft().rows
                continue
            if item.rows > room or most - room >= enough or (batch and item.shape != batch[0].shape):
                break
            batch.append(items.popleft())
            item.taken_at = now
            self.rows -= item.rows
            room -= item.rows
        self._show()
        return batch

    def _is_within(self, rows: int) -> bool:
        return self._shown.total() < self._most_requests and self._rows_shown.total() + rows <= self._most_rows

    def _show(self) -> None:
        self._shown.set(len(self._items))
        self._rows_shown.set(self.rows)
