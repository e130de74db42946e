"""Requests of one model for its `m_direct`, joined into few calls without waiting.

While the calls in flight are at their bound, rows wait here, bounded and first in first out; each call takes as many
of them as fit. Nothing in flight means nothing to wait for. An error of a joined call is not everybody's: the call is
made again in halves until only the guilty request has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import numpy as np

from adapter import errors
from adapter.backend.protocol import Arrays, InferenceBackend
from adapter.codec import Codec
from converter.spec.manifest import ModelEntry

_DEADLINE = "The request did not finish within its deadline."
# How much the newest call counts in the running mean of call times.
_WEIGHT = 0.1


class _Item:
    """The rows of one request, and the future of their answer."""

    __slots__ = ("answer", "arrays", "deadline", "rows")

    def __init__(self, arrays: Arrays, rows: int, deadline: float, answer: asyncio.Future[Arrays]) -> None:
        self.arrays = arrays
        self.rows = rows
        self.deadline = deadline
        self.answer = answer


class Dispatcher:
    """One source model's way to Triton. Lives in one event loop, whose time it uses."""

    def __init__(self, entry: ModelEntry, codec: Codec, backend: InferenceBackend) -> None:
        self._entry = entry
        self._codec = codec
        self._backend = backend
        # One more call than instances: the next is in Triton when an instance becomes free.
        self._most_calls = entry.spec.instances + 1
        self._calls = 0
        self._queue: deque[_Item] = deque()
        self._free_axes = any(-1 in tensor.dims for tensor in entry.inputs)
        self._flush_due = False
        self._call_seconds = 0.0
        # The loop holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        """Requests that wait here."""
        return sum(not item.answer.done() for item in self._queue)

    async def infer(self, arrays: Arrays, rows: int, timeout: float) -> Arrays:
        """The answer to these rows, at most `timeout` seconds from now; `rows` is at most `direct_max_rows`.

        Raises AdapterError: QueueFull over the bound, DeadlineExceeded, or what the call raised for these rows.
        """
        if timeout <= 0:
            raise errors.DeadlineExceeded(_DEADLINE)
        if len(self._queue) >= self._entry.queue_size:
            self._drop_done()
        if len(self._queue) >= self._entry.queue_size:
            raise errors.QueueFull("The model's queue is full; try again shortly.", retry_after=self._drain_seconds())
        loop = asyncio.get_running_loop()
        item = _Item(arrays, rows, loop.time() + timeout, loop.create_future())
        self._queue.append(item)
        if not self._flush_due and self._calls < self._most_calls:
            # On the loop's next turn, so that what arrived in this one goes along.
            self._flush_due = True
            loop.call_soon(self._flush)
        timer = loop.call_at(item.deadline, _expire, item.answer)
        try:
            return await item.answer
        finally:
            timer.cancel()

    def _flush(self) -> None:
        """Start as many calls as may be in flight."""
        self._flush_due = False
        while self._queue and self._calls < self._most_calls:
            batch = self._next_batch()
            if not batch:
                return
            self._calls += 1
            task = asyncio.get_running_loop().create_task(self._call(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_batch(self) -> list[_Item]:
        """From the head of the queue, as many as fit; expired and cancelled ones are dropped."""
        batch: list[_Item] = []
        room = self._entry.direct_max_rows
        while self._queue:
            item = self._queue[0]
            if item.answer.done():
                self._queue.popleft()
                continue
            if item.rows > room or (self._free_axes and batch and not self._alike(batch[0], item)):
                break
            batch.append(self._queue.popleft())
            room -= item.rows
        return batch

    def _alike(self, one: _Item, other: _Item) -> bool:
        """Whether the rows of two requests have the same shape, so that they make one tensor."""
        return all(
            one.arrays[tensor.name].shape[1:] == other.arrays[tensor.name].shape[1:] for tensor in self._entry.inputs
        )

    def _drop_done(self) -> None:
        self._queue = deque(item for item in self._queue if not item.answer.done())

    async def _call(self, batch: Sequence[_Item]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._settle(batch)
        finally:
            self._calls -= 1
            self._call_seconds += _WEIGHT * (loop.time() - started - self._call_seconds)
            if self._queue:
                self._flush()

    async def _settle(self, batch: Sequence[_Item]) -> None:
        """Give every item its rows or its error; never raises."""
        batch = [item for item in batch if not item.answer.done()]
        if not batch:
            return
        try:
            outputs = await self._infer(batch)
        except (errors.ModelFailed, errors.BadModelOutput) as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])
            return
        except errors.AdapterError as error:
            _fail(batch, error)
            return
        except Exception as error:
            # A fault of ours: each request's own handler logs it and answers 500.
            _fail(batch, error)
            return
        start = 0
        finite = self._codec.finite(outputs)
        for item in batch:
            part = outputs
            if len(batch) > 1:
                part = {name: array[start : start + item.rows] for name, array in outputs.items()}
                start += item.rows
            if item.answer.done():
                continue
            if finite or self._codec.finite(part):
                item.answer.set_result(part)
            else:
                item.answer.set_exception(self._codec.not_finite())

    async def _infer(self, batch: Sequence[_Item]) -> Arrays:
        entry = self._entry
        rows = sum(item.rows for item in batch)
        if len(batch) == 1:
            joined = batch[0].arrays
        else:
            joined = {
                tensor.name: np.concatenate([item.arrays[tensor.name] for item in batch]) for tensor in entry.inputs
            }
        timeout = max(item.deadline for item in batch) - asyncio.get_running_loop().time()
        outputs = await self._backend.infer(entry.direct, entry.inputs, joined, entry.outputs, timeout)
        self._codec.check_shapes(outputs, rows)
        return outputs

    def _drain_seconds(self) -> float:
        """How long the queue takes to empty, in full calls."""
        rows = sum(item.rows for item in self._queue)
        calls = -(-rows // self._entry.direct_max_rows)
        return calls * self._call_seconds / self._entry.spec.instances


def _expire(answer: asyncio.Future[Arrays]) -> None:
    if not answer.done():
        answer.set_exception(errors.DeadlineExceeded(_DEADLINE))


def _fail(batch: Sequence[_Item], error: Exception) -> None:
    for item in batch:
        if not item.answer.done():
            item.answer.set_exception(error)
