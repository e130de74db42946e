"""The requests of one model that wait for a call: first in, first out, and bounded."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence

from adapter import errors
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

    def note_times(self, queued: float, ended: float) -> None:
        """Note for whoever asked how long the request waited, from `queued` on, and was in a call until it `ended`."""
        taken = ended if self.taken_at is None else self.taken_at
        timings = self.timings
        # A request in parts waits once for each.
        timings.queue += taken - queued
        timings.model += ended - taken
        if timings.trace is not None:
            timings.trace.queued(taken - queued, ended - taken)


def answer(batch: Sequence[PendingRequest], results: Sequence[Texts | errors.BadModelOutput]) -> None:
    """Give each request its rows, unless nobody waits for them any more."""
    for item, result in zip(batch, results, strict=True):
        if item.answer.done():
            continue
        if isinstance(result, errors.BadModelOutput):
            item.answer.set_exception(result)
        else:
            item.answer.set_result(result)


def fail(batch: Sequence[PendingRequest], error: Exception) -> None:
    """Give all requests this error."""
    for item in batch:
        if not item.answer.done():
            item.answer.set_exception(error)


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
        return self.is_within(rows) or self.has_room_without_gone(rows)

    def is_within(self, rows: int) -> bool:
        """Return whether one of so many rows is within the bounds, of those who are gone too."""
        return self._shown.total() < self._most_requests and self._rows_shown.total() + rows <= self._most_rows

    def has_room_without_gone(self, rows: int) -> bool:
        """Return whether it is once those are dropped for whom nobody waits any more."""
        self._items = deque(item for item in self._items if not item.answer.done())
        self.rows = sum(item.rows for item in self._items)
        self._show()
        return self.is_within(rows)

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

    def put_back(self, batch: Sequence[PendingRequest]) -> None:
        """Let requests that were taken wait again, before all others."""
        for item in batch:
            item.taken_at = None
        self._items.extendleft(reversed(batch))
        self.rows += sum([item.rows for item in batch])
        self._show()

    def take(
        self, shedder: LoadShedder, loop_now: float, now: float, enough: int = sys.maxsize, room: int = sys.maxsize
    ) -> list[PendingRequest]:
        """Take the next call's requests from the head, until there are `enough` rows or the next does not fit.

        `room` is how many rows the call has left if others are in it. Expired, cancelled and hopeless requests are
        dropped. `now` is what their `taken_at` will say.
        """
        batch: list[PendingRequest] = []
        most = self._call_rows
        most_here = room = min(most, room)
        should_drop = shedder.should_drop
        items = self._items
        while items:
            item = items[0]
            others = self.rows - item.rows >= most
            # Its deadline answers it.
            if item.answer.done() or should_drop(item.deadline - loop_now, loop_now - item.came, others):
                self.rows -= items.popleft().rows
                continue
            if item.rows > room or most_here - room >= enough or (batch and item.shape != batch[0].shape):
                break
            batch.append(items.popleft())
            item.taken_at = now
            self.rows -= item.rows
            room -= item.rows
        self._show()
        return batch

    def _show(self) -> None:
        self._shown.set(len(self._items))
        self._rows_shown.set(self.rows)
