"""Requests of one model for its `m_direct`, joined into few calls without waiting.

While the calls in flight are at their bound, rows wait here, bounded and first in first out; each call takes as many
of them as fit. Calls that are full go ahead of the bound, since waiting could not make them fuller. Nothing in flight
means nothing to wait for. Who has waited too long to be answered in time is not sent (shedding.py). An error
of a joined call is not everybody's: the call is made again in halves until only the guilty request has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from adapter import errors
from adapter.batching.busy_poll import BusyPoll
from adapter.batching.calls import ANSWERS, ModelCalls
from adapter.batching.linger import Linger
from adapter.batching.shedding import LoadShedder
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.deadline_timer import DeadlineTimer
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters

# Full calls beyond one for each instance: the model finds the next one when it has ended one.
_AHEAD = 2
# Where calls are quicker than this, the way there and back is as long as the model needs: a second one for each
# instance is under way meanwhile. Only for so many rows: more are better off in one fuller call.
_QUICK_SECONDS = 0.001
_FEW = 4
# How much the newest call counts in the running mean of call times.
_WEIGHT = 0.1
# Of the queue's bound: rows for each request that it may hold, and at least so many full calls.
_ROWS_A_PLACE = 16
_LEAST_CALLS_QUEUED = 8


class _Pending:
    """The rows of one request, and the future of their answer. `shape` is that of its rows, where axes are free.

    `came` is when it did, in the loop's time as `deadline` is, and `seen` how many calls had been answered by then.
    `taken_at` is when a call took it; None while it waits.
    """

    __slots__ = ("answer", "came", "deadline", "features", "rows", "seen", "shape", "taken_at", "timings")

    def __init__(
        self,
        features: Features,
        rows: int,
        came: float,
        deadline: float,
        answer: asyncio.Future[Texts],
        shape: tuple[int, ...],
        seen: float,
        timings: RequestTimings,
    ) -> None:
        self.features = features
        self.rows = rows
        self.came = came
        self.deadline = deadline
        self.answer = answer
        self.shape = shape
        self.seen = seen
        self.timings = timings
        self.taken_at: float | None = None


class Batcher:
    """One source model's way to `m_direct`. Lives in one event loop, whose time its deadlines go by."""

    def __init__(
        self,
        model_calls: ModelCalls,
        worker_counters: WorkerCounters,
        clock: Callable[[], float],
    ) -> None:
        entry = self._entry = model_calls.entry
        self._model_calls = model_calls
        # Finer than the loop's time, which is whole milliseconds.
        self._clock = clock
        # No call waits in Triton but a full one: what waits here makes the next one fuller.
        self._most_calls = entry.spec.instances
        self._calls = 0
        # Rows in them.
        self._sent = 0
        self._queue: deque[_Pending] = deque()
        self._queued_rows = 0
        self._free_axes = any(-1 in tensor.dims for tensor in entry.inputs)
        self._deadline_timer = DeadlineTimer()
        self._shedder = LoadShedder()
        self._call_seconds = 0.0
        self._linger = Linger(clock)
        self._busy_poll = BusyPoll()
        # Kept: asking for the running loop is a system call in Python 3.11 and before.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queued = worker_counters.cell(entry.name, counters.QUEUED)
        self._rows_shown = worker_counters.cell(entry.name, counters.QUEUED_ROWS)
        self._answered = worker_counters.cell(entry.name, counters.ANSWERED)
        self._calls_made = worker_counters.cell(entry.name, counters.CALLS)
        self._call_rows = worker_counters.cell(entry.name, counters.CALL_ROWS)
        self._call_times = worker_counters.calls(entry.name, "direct")
        # The loop holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        """Requests that wait here."""
        return sum(not item.answer.done() for item in self._queue)

    @property
    def expecting(self) -> int:
        """Requests that the next call waits for, a moment."""
        return self._linger.expected

    async def alone(self, features: Features, timeout: float, timings: RequestTimings) -> Texts:
        """As `infer`, in a call of its own that waits for nobody and takes nobody along."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        rows = [len(features[0])]
        self._calls += 1
        self._sent += rows[0]
        started = self._clock()
        self._busy_poll.start(loop, self._call_seconds)
        try:
            (texts,) = await self._model_calls.infer(self._entry.direct, [features], rows, timeout, [timings])
            seconds = self._clock() - started
            self._observe(seconds, rows[0])
            self._shedder.answered(seconds)
            self._answered.add(1)
        except ANSWERS:
            self._answered.add(1)
            raise
        except errors.DeadlineExceeded:
            self._shedder.missed(self._clock() - started)
            raise
        finally:
            timings.model = self._clock() - started
            self._busy_poll.stop()
            self._calls -= 1
            self._sent -= rows[0]
            if self._queue and self._may_call(self._calls):
                self._start_call(loop)
        if isinstance(texts, errors.BadModelOutput):
            raise texts
        return texts

    def _observe(self, seconds: float, rows: int, beside: int = 0) -> None:
        """A call was answered that began beside so many others in excess of one for each instance."""
        self._calls_made.add(1)
        self._call_rows.add(rows)
        self._call_times.took(seconds)
        # It waited for those: how long the model takes is a part of its time, and of a full one not known.
        if not beside or rows < self._entry.direct_max_rows:
            share = self._most_calls / (self._most_calls + beside)
            self._call_seconds += _WEIGHT * (seconds * share - self._call_seconds)

    async def infer(self, features: Features, timeout: float, timings: RequestTimings) -> Texts:
        """The answer to these rows, at most `timeout` seconds from now; they are at most `direct_max_rows`.

        Raises AdapterError: QueueFull over the bound, DeadlineExceeded, or what the call raised for these rows.
        """
        if timeout <= 0:
            raise errors.DeadlineExceeded(errors.DEADLINE)
        rows = len(features[0])
        if self._full(rows):
            self._drop_done()
            if self._full(rows):
                raise errors.QueueFull(
                    "The model's queue is full; try again shortly.", retry_after=self.drain_seconds()
                )
        loop = self._loop = self._loop or asyncio.get_running_loop()
        came = loop.time()
        deadline = came + timeout
        answer: asyncio.Future[Texts] = loop.create_future()
        shape = self._model_calls.row_shape(features) if self._free_axes else ()
        item = _Pending(features, rows, came, deadline, answer, shape, self._answered.mine, timings)
        queued = self._clock()
        self._queue.append(item)
        self._queued_rows += rows
        self._queued.set(len(self._queue))
        self._rows_shown.set(self._queued_rows)
        self._linger.arrived(len(self._queue))
        self._deadline_timer.add(answer, deadline)
        if self._may_call(self._calls):
            self._start_call(loop)
        try:
            return await answer
        except errors.DeadlineExceeded as error:
            error.queued = item.taken_at is None and self._answered.mine > item.seen
            raise
        finally:
            self._deadline_timer.discard(answer)
            ended = self._clock()
            taken = ended if item.taken_at is None else item.taken_at
            # A request in parts waits once for each.
            timings.queue += taken - queued
            timings.model += ended - taken
            if timings.trace is not None:
                timings.trace.queued(taken - queued, ended - taken)

    def _full(self, rows: int) -> bool:
        entry = self._entry
        most_rows = max(entry.queue_size * _ROWS_A_PLACE, entry.direct_max_rows * _LEAST_CALLS_QUEUED)
        return self._queued.total() >= entry.queue_size or self._rows_shown.total() + rows > most_rows

    def _may_call(self, others: int) -> bool:
        """Whether one more may be made beside so many: one for each instance, a few more that are full or quick."""
        over = others - self._most_calls
        return over < 0 or (over < _AHEAD and self._is_full()) or (over < self._most_calls and self._are_few())

    def _are_few(self) -> bool:
        """Whether calls are quick, and so few rows are here that joining them gains nothing."""
        return 0 < self._call_seconds < _QUICK_SECONDS and self._sent + self._queued_rows <= _FEW * self._most_calls

    def _is_full(self) -> bool:
        """Whether what waits fills a call."""
        return self._queued_rows >= self._entry.direct_max_rows

    def _start_call(self, loop: asyncio.AbstractEventLoop) -> None:
        # A task begins on the loop's next turn, so what arrived in this one goes along.
        self._calls += 1
        task = loop.create_task(self._call())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self) -> None:
        """Calls, one after the other, until nothing waits."""
        try:
            while self._may_call(self._calls - 1) and (batch := self._next_batch(started := self._clock())):
                beside = max(0, self._calls - self._most_calls)
                rows = sum([item.rows for item in batch])
                self._sent += rows
                try:
                    await self._settle(batch)
                finally:
                    self._sent -= rows
                self._observe(self._clock() - started, rows, beside)
                # Where the next call is full already, whoever came now could not go along.
                if not self._is_full() and self._calls <= self._most_calls:
                    await self._linger.wait(len(self._queue) + len(batch), self._call_seconds)
        finally:
            self._calls -= 1

    def _next_batch(self, now: float) -> list[_Pending]:
        """From the head of the queue, as many as fit; expired, cancelled and hopeless ones are dropped."""
        batch: list[_Pending] = []
        most = room = self._entry.direct_max_rows
        # Few are divided among the calls that may be under way.
        enough = -(-(self._sent + self._queued_rows) // (2 * self._most_calls)) if self._are_few() else most
        loop_now = asyncio.get_running_loop().time()
        hopeless = self._shedder.should_drop
        queue = self._queue
        while queue:
            item = queue[0]
            others = self._queued_rows - item.rows >= most
            # Its deadline answers it.
            if item.answer.done() or hopeless(item.deadline - loop_now, loop_now - item.came, others):
                self._queued_rows -= queue.popleft().rows
                continue
            if item.rows > room or most - room >= enough or (batch and item.shape != batch[0].shape):
                break
            batch.append(queue.popleft())
            item.taken_at = now
            self._queued_rows -= item.rows
            room -= item.rows
        self._queued.set(len(queue))
        self._rows_shown.set(self._queued_rows)
        return batch

    def _drop_done(self) -> None:
        self._queue = deque(item for item in self._queue if not item.answer.done())
        self._queued_rows = sum(item.rows for item in self._queue)
        self._queued.set(len(self._queue))
        self._rows_shown.set(self._queued_rows)

    async def _settle(self, batch: Sequence[_Pending]) -> None:
        """Give every item its rows or its error; never raises."""
        batch = [item for item in batch if not item.answer.done()]
        if not batch:
            return
        started = self._clock()
        try:
            results = await self._infer(batch)
            self._answered.add(1)
            self._shedder.answered(self._clock() - started)
        except (errors.BadFeatures, *ANSWERS) as error:
            self._answered.add(isinstance(error, ANSWERS))
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])
        except errors.DeadlineExceeded as error:
            self._shedder.missed(self._clock() - started)
            _fail(batch, error)
        except Exception as error:
            # Where it is a fault of ours, each request's own handler logs it and answers 500.
            _fail(batch, error)
        else:
            for item, result in zip(batch, results, strict=True):
                if item.answer.done():
                    continue
                if isinstance(result, errors.BadModelOutput):
                    item.answer.set_exception(result)
                else:
                    item.answer.set_result(result)

    async def _infer(self, batch: Sequence[_Pending]) -> Sequence[Texts | errors.BadModelOutput]:
        timeout = max([item.deadline for item in batch]) - asyncio.get_running_loop().time()
        features, rows = [item.features for item in batch], [item.rows for item in batch]
        timings = [item.timings for item in batch]
        return await self._model_calls.infer(self._entry.direct, features, rows, timeout, timings)

    def drain_seconds(self) -> float:
        """How long the queue takes to empty, in full calls."""
        calls = -(-self._queued_rows // self._entry.direct_max_rows)
        return calls * self._call_seconds / self._entry.spec.instances


def _fail(batch: Sequence[_Pending], error: Exception) -> None:
    for item in batch:
        if not item.answer.done():
            item.answer.set_exception(error)
