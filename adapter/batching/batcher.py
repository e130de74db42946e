"""Requests of one model for its `m_direct`, joined into few calls without waiting.

While the calls in flight are at their bound, rows wait in a queue (queue.py), and each call takes as many of them as
fit. Three policies are asked on the way: who is dropped, since the answer would come too late (shedding.py), whether a
call that ended waits for the clients that it answered (linger.py), and whether the event loop stays awake for the
answer (busy_poll.py). They read what the batcher learns of calls (call_times.py). If calls of several quick models
compete for the cores, the models take turns (shared_cores.py). An error of a joined call is not everybody's: the call
is made again in halves until only the guilty request has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from adapter import errors
from adapter.batching.busy_poll import BusyPoll
from adapter.batching.call_rules import CallRules
from adapter.batching.call_times import CallTimes
from adapter.batching.calls import ModelCalls
from adapter.batching.queue import PendingQueue, PendingRequest, answer, fail
from adapter.batching.shared_cores import CoreUser, SharedCores
from adapter.batching.shedding import LoadShedder
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.deadline_timer import DeadlineTimer
from adapter.errors import ANSWERS
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters


class Batcher(CallRules):
    """One source model's way to `m_direct`, in one event loop, whose time its deadlines go by.

    A call starts when a request comes or another call ends, if rows wait and one of these holds:

    - an instance of the model has no call;
    - the rows that wait fill a call, and fewer than two calls go ahead of the instances: such a call cannot get fuller.

    For example, a model has two instances, takes at most 8 rows a call, and needs 5 ms for one:

    =============  ===================  ====================  ============================================
    What happens   Rows that wait       Calls in flight       Why
    =============  ===================  ====================  ============================================
    A comes, 1 row                      A                     An instance is free.
    B comes, 1 row                      A, B                  So is the other.
    C comes, 3     C: 3                 A, B                  Both have a call, and 3 rows do not fill one.
    D comes, 4     C, D: 7              A, B                  Nor do 7.
    E comes, 2     E: 2                 A, B, C + D           9 rows do. E's rows do not fit, and wait.
    A ends         E: 2                 B, C + D              Both instances have a call.
    B ends                              C + D, E              An instance is free.
    =============  ===================  ====================  ============================================
    """

    def __init__(
        self, model_calls: ModelCalls, cores: SharedCores, worker_counters: WorkerCounters, clock: Callable[[], float]
    ) -> None:
        entry = self._entry = model_calls.entry
        self._model_calls = model_calls
        # Finer than the loop's time, which is whole milliseconds.
        self._clock = clock
        self._free_axes = any(-1 in tensor.dims for tensor in entry.inputs)
        self._answered = worker_counters.cell(entry.name, counters.ANSWERED)
        self._queue: PendingQueue = PendingQueue(entry, worker_counters)
        self._times: CallTimes = CallTimes(entry, worker_counters)
        super().__init__(self._queue, self._times, entry.spec.instances, entry.direct_max_rows, clock)
        self._cores = cores
        self._core_user = CoreUser(cores, self._call_held)
        # Requests in calls.
        self._taken = 0
        self._shedder = LoadShedder(self._times)
        self._busy_poll = BusyPoll(self._times, clock, cores)
        self._deadline_timer = DeadlineTimer()
        # Kept: asking for the running loop is a system call in Python 3.11 and before.
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def expecting(self) -> int:
        """How many requests the next call waits for, for a moment; 0 for none."""
        return self._linger.expected

    def submit(
        self, features: Features, deadline: float, timings: RequestTimings, join: bool = True
    ) -> Coroutine[Any, Any, Texts]:
        """Return the answer to these rows, to be awaited at once. They are at most `direct_max_rows`.

        `deadline` is a time of the running loop. Without `join` they go in a call of their own, which waits for nobody
        and takes nobody along.

        Raises: QueueFull if joined, and the queue is at its bound; DeadlineExceeded if there is no answer by then; else
        AdapterError, as the call raised it for these rows.
        """
        if join or self._core_user.is_crowded():
            return self._join(features, deadline, timings)
        return self._send_alone(features, deadline, timings)

    async def _send_alone(self, features: Features, deadline: float, timings: RequestTimings) -> Texts:
        loop = self._loop = self._loop or asyncio.get_running_loop()
        rows = [len(features[0])]
        self._calls += 1
        self._taken += 1
        self._count()
        self._core_user.begin()
        started = self._clock()
        self._core_user.note_call(started)
        try:
            with self._busy_poll.during(1):
                (texts,) = await self._model_calls.infer(self._entry.direct, [features], rows, deadline, [timings])
            seconds = self._clock() - started
            self._times.record(seconds, rows[0], 0)
            self._core_user.learn(seconds)
            self._times.record_answer(seconds)
            self._answered.add(1)
        except ANSWERS:
            self._answered.add(1)
            raise
        except errors.DeadlineExceeded:
            self._times.record_miss(self._clock() - started)
            raise
        finally:
            timings.model = self._clock() - started
            self._calls -= 1
            self._taken -= 1
            self._count()
            self._core_user.end(loop)
            self._call_again(loop)
        if isinstance(texts, errors.BadModelOutput):
            raise texts
        return texts

    async def _join(self, features: Features, deadline: float, timings: RequestTimings) -> Texts:
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if deadline <= loop.time():
            raise errors.DeadlineExceeded(errors.DEADLINE)
        if not self._queue.has_room(len(features[0])):
            raise errors.QueueFull("The model's queue is full; try again shortly.", retry_after=self._drain_seconds())
        shape = self._model_calls.row_shape(features) if self._free_axes else ()
        item = PendingRequest(loop, features, deadline, shape, self._answered.mine, timings)
        answer = item.answer
        queued = self._clock()
        self._queue.append(item)
        self._count()
        if self._cores.awaited:
            self._cores.arrive()
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
            item.note_times(queued, self._clock())

    async def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make calls, one after the other, until none may start."""
        try:
            while self._may_call(self._calls - 1) and (batch := self._next_batch(loop, started := self._clock())):
                beside = max(0, self._calls - self._instances)
                rows = sum([item.rows for item in batch])
                self._taken += len(batch)
                self._count()
                self._core_user.note_call(started)
                try:
                    with self._busy_poll.during(len(batch)):
                        await self._settle(loop, batch)
                finally:
                    self._taken -= len(batch)
                seconds = self._clock() - started
                self._times.record(seconds, rows, beside)
                self._core_user.learn(seconds)
                # Asked before those who were answered are counted as gone.
                crowded = self._core_user.is_crowded()
                self._count()
                if crowded:
                    await self._core_user.wait(len(batch), loop)
                # If the next call is full already, whoever came now could not go along.
                elif not self._is_full() and self._calls <= self._instances:
                    await self._linger.wait(len(self._queue) + len(batch))
                if not self._core_user.keeps_turn(loop):
                    break
        finally:
            self._calls -= 1
            self._count()
            self._core_user.end(loop)

    def _count(self) -> None:
        self._core_user.count(len(self._queue) + self._taken)

    def _start_call(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._core_user.has_turn():
            self._core_user.begin()
            super()._start_call(loop)
        else:
            self._core_user.hold(loop)

    def _call_held(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start a call of rows that were held back for calls of other models."""
        if self._queue.rows and self._may_call(self._calls):
            self._core_user.begin()
            super()._start_call(loop)

    def _next_batch(self, loop: asyncio.AbstractEventLoop, now: float) -> list[PendingRequest]:
        return self._queue.take(self._shedder, loop.time(), now)

    async def _settle(self, loop: asyncio.AbstractEventLoop, batch: Sequence[PendingRequest]) -> None:
        """Give every request its rows or its error; never raises."""
        batch = [item for item in batch if not item.answer.done()]
        if not batch:
            return
        started = self._clock()
        try:
            results = await self._infer(loop, batch)
            self._answered.add(1)
            self._times.record_answer(self._clock() - started)
        except (errors.BadFeatures, *ANSWERS) as error:
            self._answered.add(isinstance(error, ANSWERS))
            if len(batch) == 1:
                fail(batch, error)
                return
            middle = len(batch) // 2
            await self._settle(loop, batch[:middle])
            await self._settle(loop, batch[middle:])
        except errors.DeadlineExceeded as error:
            self._times.record_miss(self._clock() - started)
            fail(batch, error)
        except Exception as error:
            # If the fault is ours, each request's own handler logs it and answers 500.
            fail(batch, error)
        else:
            answer(batch, results)

    async def _infer(
        self, loop: asyncio.AbstractEventLoop, batch: Sequence[PendingRequest]
    ) -> Sequence[Texts | errors.BadModelOutput]:
        deadline = max([item.deadline for item in batch])
        features, rows = [item.features for item in batch], [item.rows for item in batch]
        timings = [item.timings for item in batch]
        return await self._model_calls.infer(self._entry.direct, features, rows, deadline, timings)
