"""Requests of a pack's models for their host, joined into few calls, each with the rows of whichever models wait.

What Batcher does for one model, with the same rules and policies, for all models of a host. An error of one model is
its requests' alone: theirs are called for again in halves until only the guilty one has it, while the model's other
requests wait, and its mates go on. So do they while the host is loading a model.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from adapter import errors
from adapter.batching.busy_poll import BusyPoll
from adapter.batching.call_rules import AHEAD, CallRules
from adapter.batching.call_times import QUICK_SECONDS, MeanTime
from adapter.batching.pack_calls import MemberAnswer, MemberRows, PackCalls
from adapter.batching.pack_member import PackMember, find_slow
from adapter.batching.pack_queue import MemberBatch, PackBatch, PackQueue
from adapter.batching.queue import PendingRequest, answer, fail
from adapter.batching.shared_cores import SharedCores
from adapter.codec.codec import Codec
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.deadline_timer import DeadlineTimer
from adapter.errors import ANSWERS
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters
from converter.schema.manifest import ModelEntry

# A model goes in calls of its own if it needs so many times what its mates need, and at least so long.
_SLOW_TIMES = 10
_SLOW_SECONDS = 0.002
# A call has so many models as need this together, or a few. Meanwhile requests of the others gather: fewer models a
# call are more rows for each. With fewer still, the way to the host and back costs more than that saves.
_CALL_SECONDS, _FEW_MODELS = 0.0005, 4
# How long it is kept what was found of that.
_JUDGED_SECONDS = 0.1


class PackBatcher(CallRules):
    """The way of a pack's models to their host, in one event loop, whose time their deadlines go by.

    `host` returns the host's entry, which a reload may change, or None once it has gone. With several instances one of
    them is kept free of slow models; with one, these and the others take turns.
    """

    def __init__(
        self,
        host: Callable[[], ModelEntry | None],
        pack_calls: PackCalls,
        cores: SharedCores,
        worker_counters: WorkerCounters,
        clock: Callable[[], float],
    ) -> None:
        entry = host()
        assert entry is not None, "a pack's models come after its host"
        self._entry = entry
        self._host = host
        self._pack_calls = pack_calls
        self._counters = worker_counters
        # Finer than the loop's time, which is whole milliseconds.
        self._clock = clock
        self._members: WeakSet[PackMember] = WeakSet()
        self._judged_at = 0.0
        self._in_flight = worker_counters.cell(entry.name, counters.IN_FLIGHT)
        self._made = worker_counters.cell(entry.name, counters.CALLS)
        self._answered = worker_counters.cell(entry.name, counters.ANSWERED)
        self._queue: PackQueue = PackQueue(_most_slow(entry))
        # Calls that took something along.
        self._under_way = 0
        # What a model needs for its part of a call, on the whole; and all calls, but those of slow models.
        self._part_times, times = MeanTime(), MeanTime()
        super().__init__(self._queue, times, entry.spec.instances, entry.direct_max_rows, clock)
        self._cores = cores
        self._busy_poll = BusyPoll(times, clock, cores)
        self._deadline_timer = DeadlineTimer()
        # Kept: asking for the running loop is a system call in Python 3.11 and before.
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def expecting(self) -> float:
        """How many requests of the pack are in flight, or are waited for by the next call."""
        return self._in_flight.total() or self._linger.expected

    def add(self, entry: ModelEntry, codec: Codec) -> PackMember:
        """Return the place of a model in the pack, which it has until nobody holds it any more."""
        member = PackMember(entry, codec, self._counters)
        self._members.add(member)
        return member

    def slow_members(self, least_seconds: float, times: float, least_calls: int = 1) -> list[PackMember]:
        """Return the models that are so many times slower than their mates, by what they themselves need for a call."""
        slow = find_slow(list(self._members), least_seconds, times)
        return [member for member in slow if member.times.calls >= least_calls]

    async def send_alone(
        self, member: PackMember, features: Features, deadline: float, timings: RequestTimings
    ) -> Texts:
        """Do as Batcher's `submit` without `join`."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if member.pauses:
            return await self.join(member, features, deadline, timings)
        rows = len(features[0])
        self._in_flight.add(1)
        self._calls += 1
        if slow := member.slow:
            self._queue.slow_began()
        started = self._clock()
        self._cores.begin()
        try:
            with self._busy_poll.during(1):
                answered = await self._pack_calls.infer_alone(self._current(), member, features, deadline, timings)
            self._made.add(1)
            self._answered.add(1)
            if answered is not None:
                seconds = self._clock() - started
                if not slow:
                    self._times.learn(seconds)
                    self._part_times.learn(answered[1])
                member.record(answered[1], seconds, rows)
                if slow or member.times.mean >= _SLOW_SECONDS:
                    self._judge()
                return answered[0]
        except ANSWERS:
            self._answered.add(1)
            member.answered.add(1)
            raise
        except errors.DeadlineExceeded:
            member.times.record_miss(self._clock() - started)
            raise
        finally:
            timings.model += self._clock() - started
            self._in_flight.add(-1)
            self._calls -= 1
            if slow:
                self._queue.slow_ended()
            self._cores.end(loop)
            self._call_again(loop)
        self._pause_for_load(member)
        return await self.join(member, features, deadline, timings)

    async def join(self, member: PackMember, features: Features, deadline: float, timings: RequestTimings) -> Texts:
        """Do as Batcher's `submit` with `join`."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        if deadline <= loop.time():
            raise errors.DeadlineExceeded(errors.DEADLINE)
        rows = len(features[0])
        if not (member.queue.is_within(rows) or self._queue.has_room(member, rows)):
            raise errors.QueueFull("The model's queue is full; try again shortly.", retry_after=self._drain_seconds())
        shape = member.codec.request.row_shape(features) if member.free_axes else ()
        item = PendingRequest(loop, features, deadline, shape, self._answered.mine, timings)
        queued = self._clock()
        self._in_flight.add(1)
        self._queue.append(member, item)
        self._deadline_timer.add(item.answer, deadline)
        if self._may_call(self._calls):
            self._start_call(loop)
        try:
            return await item.answer
        except errors.DeadlineExceeded as error:
            error.queued = item.taken_at is None and (member.loading or self._answered.mine > item.seen)
            raise
        finally:
            self._in_flight.add(-1)
            self._deadline_timer.discard(item.answer)
            item.note_times(queued, self._clock())

    async def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make calls, one after the other, until none may start."""
        try:
            while self._may_call(self._calls - 1):
                self._current()
                batch = self._queue.take(self._most_rows, self._most_models(), loop.time(), self._clock())
                if not batch.parts:
                    break
                self._under_way += 1
                self._call_again(loop)
                requests = sum([len(part.items) for part in batch.parts])
                await self._make_call(loop, batch, requests)
                if not batch.slow and self._may_linger():
                    await self._linger.wait(len(self._queue) + requests)
        finally:
            self._calls -= 1

    def _may_linger(self) -> bool:
        """Return whether the next call gains if it waits for the clients that were answered."""
        if self._queue.slow_waits or self._calls > self._instances:
            return False
        # If the next call is full already, or of one model that waits, whoever came now could not go along.
        return not self._is_full() and (self._call_models() > 1 or not len(self._queue))

    async def _make_call(self, loop: asyncio.AbstractEventLoop, batch: PackBatch, requests: int) -> None:
        """Make one call of so many requests, and begin those that are to be made again."""
        others = self._calls > self._instances
        started = self._clock()
        self._cores.begin()
        try:
            with self._busy_poll.during(requests):
                settled = await self._settle(batch.parts)
        finally:
            self._cores.end(loop)
            self._under_way -= 1
            if batch.slow:
                self._queue.slow_ended()
        if settled.is_usual and not batch.slow:
            self._part_times.learn(settled.model_seconds / len(batch.parts))
            # If it waited for others, what the host says of its parts is nearer to what it took.
            self._times.learn((others and settled.model_seconds) or self._clock() - started)
        # Whoever comes is behind all that was sent: not for long if calls are quick.
        self._ahead = AHEAD if self._times.mean < QUICK_SECONDS else AHEAD - 1
        for parts in settled.again:
            self._queue.pause(parts[0].member)
            self._start(loop, self._settle_apart(parts))

    async def _settle_apart(self, parts: list[MemberBatch]) -> None:
        """Make a call of each part of a model, one after the other beside the calls of its mates."""
        member = parts[0].member
        while parts:
            settled = await self._settle([parts.pop(0)])
            parts[:0] = [half for halves in settled.again for half in halves]
        self._resume(member)

    async def _settle(self, parts: Sequence[MemberBatch]) -> _Settled:
        """Make a call, and give every request its rows or its error; never raises."""
        parts = [part for each in parts if (part := _waiting(each)).items]
        if not parts:
            return _Settled()
        asked = [
            MemberRows(
                member, [item.features for item in items], [item.rows for item in items],
                [item.timings for item in items],
            )
            for member, items in parts
        ]  # fmt: skip
        deadline = max([item.deadline for part in parts for item in part.items])
        started = self._clock()
        try:
            results = await self._pack_calls.infer(self._current(), asked, deadline)
        except Exception as error:
            return self._settle_error(parts, error, self._clock() - started)
        self._made.add(1)
        self._answered.add(1)
        seconds = self._clock() - started
        settled = _Settled(is_usual=True)
        for part, result in zip(parts, results, strict=True):
            settled.model_seconds += result.seconds
            self._conclude(part, result, seconds, settled)
        return settled

    def _settle_error(self, parts: Sequence[MemberBatch], error: Exception, seconds: float) -> _Settled:
        """Deal with the error of a call as a whole."""
        settled = _Settled()
        if isinstance(error, ANSWERS):
            self._answered.add(1)
            # Which model's fault it is, is not known.
            settled.again = [[part] for part in parts] if len(parts) > 1 else _halved(parts[0], error)
            return settled
        for part in parts:
            if isinstance(error, errors.DeadlineExceeded):
                part.member.times.record_miss(seconds)
            # If the fault is ours, each request's own handler logs it and answers 500.
            fail(part.items, error)
        return settled

    def _conclude(self, part: MemberBatch, result: MemberAnswer, seconds: float, settled: _Settled) -> None:
        """Deal with the answer to one model's part of a call that took so many seconds."""
        member, items = part
        if result.error is not None:
            member.answered.add(isinstance(result.error, ANSWERS))
            if isinstance(result.error, (errors.BadFeatures, *ANSWERS)):
                settled.again += _halved(part, result.error)
            else:
                fail(items, result.error)
        elif result.results:
            member.record(result.seconds, seconds, sum([item.rows for item in items]))
            if member.slow or member.times.mean >= _SLOW_SECONDS:
                self._judge()
            answer(items, result.results)
        else:
            settled.is_usual = False
            # Paused first: what a model has waiting then counts for nobody.
            self._pause_for_load(member)
            member.queue.put_back([item for item in items if not item.answer.done()])

    def _is_full(self) -> bool:
        if self._queue.rows >= self._most_rows:
            return True
        models = self._queue.models
        # Alone in its call, a model takes so long that who comes meanwhile gains by going along.
        return models >= _FEW_MODELS and 1 < self._call_models() <= models

    def _call_models(self) -> float:
        """Return of how many models a call has parts, if these need about the same: of one, unless they are quick."""
        part_seconds = self._part_times.mean
        if not part_seconds:
            return math.inf
        return max(_FEW_MODELS, round(_CALL_SECONDS / part_seconds)) if part_seconds < QUICK_SECONDS else 1

    def _most_models(self) -> int:
        """Return how many models the next call may have: unless calls are quick, free instances share those that wait.

        A host calls the models of a call one after the other.
        """
        waiting = self._queue.models
        if self._times.mean >= QUICK_SECONDS:
            waiting = -(-waiting // max(1, self._instances - self._under_way))
        return int(max(1, min(waiting, self._call_models())))

    def _pause_for_load(self, member: PackMember) -> None:
        """Let a model's requests wait a moment, since its host is loading it."""
        if not member.pauses:
            self._queue.pause(member)
            asyncio.get_running_loop().call_later(member.loading_pause(), self._resume, member)

    def _resume(self, member: PackMember) -> None:
        assert self._loop is not None
        self._queue.resume(member)
        self._call_again(self._loop)

    def _judge(self) -> None:
        """Find the slow models, unless that was done a moment ago."""
        now = self._clock()
        if now - self._judged_at >= _JUDGED_SECONDS:
            self._judged_at = now
            slow = set(self.slow_members(_SLOW_SECONDS, _SLOW_TIMES))
            for each in self._members:
                if each.slow != (each in slow):
                    each.slow = not each.slow
                    self._queue.change_turns(each)

    def _current(self) -> ModelEntry:
        """Return the host's entry as it is now."""
        entry = self._host()
        if entry is None:
            return self._entry
        if entry is not self._entry:
            self._entry = entry
            self._instances, self._most_rows = entry.spec.instances, entry.direct_max_rows
            self._queue.most_slow = _most_slow(entry)
        return entry


@dataclass
class _Settled:
    """What came of a call: what is to be asked again of each model, and whether the call was as long as any other.

    `model_seconds` is what its models took for it.
    """

    is_usual: bool = False
    model_seconds: float = 0.0
    again: list[list[MemberBatch]] = field(default_factory=list)


def _halved(part: MemberBatch, error: Exception) -> list[list[MemberBatch]]:
    """Return the halves of a part that failed; a single request has its error, and is not asked again."""
    member, items = part
    if len(items) == 1:
        fail(items, error)
        return []
    middle = len(items) // 2
    return [[MemberBatch(member, items[:middle]), MemberBatch(member, items[middle:])]]


def _waiting(part: MemberBatch) -> MemberBatch:
    """Return what of a part somebody waits for."""
    return MemberBatch(part.member, [item for item in part.items if not item.answer.done()])


def _most_slow(entry: ModelEntry) -> int:
    return max(1, entry.spec.instances - 1)


class PackedBatcher:
    """One packed model's way to its host, as a Batcher is any other model's to its own Triton model."""

    def __init__(self, batcher: PackBatcher, member: PackMember) -> None:
        self._batcher = batcher
        self._member = member

    @property
    def expecting(self) -> float:
        """How many requests of the pack are there, or are expected back at once."""
        return self._batcher.expecting

    def submit(
        self, features: Features, deadline: float, timings: RequestTimings, join: bool = True
    ) -> Coroutine[Any, Any, Texts]:
        """Do as Batcher's `submit`; without `join` the rows have a call of their own, if the model is loaded."""
        send = self._batcher.join if join else self._batcher.send_alone
        return send(self._member, features, deadline, timings)
