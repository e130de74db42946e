"""A batcher with a backend in memory, and the handlers that its calls are answered by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import numpy as np
import orjson

from adapter.backend.protocol import Arrays
from adapter.batching.batcher import Batcher
from adapter.batching.calls import ModelCalls
from adapter.batching.shared_cores import SharedCores
from adapter.codec.codec import Codec
from adapter.codec.encode import Texts
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.backend import FakeBackend, Handler
from tests.support.fakes.entries import make_entry

PLAIN = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=8)
TWICE = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], instances=2)
Results = list[Any]
P = ParamSpec("P")


async def double(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    return {"y": np.asarray(arrays["x"] * 2, np.float32)}


class Held:
    """A handler whose calls wait until they are let go."""

    def __init__(self, then: Handler = double) -> None:
        self.then = then
        self.gates: list[asyncio.Event] = []

    async def __call__(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        return await self.then(model, arrays, outputs)


def fails_where(bad: Callable[[Any], bool], error: Exception) -> Handler:
    """Raises where any value of the call is bad."""

    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        if any(bad(value) for value in arrays["x"].ravel().tolist()):
            raise error
        return await double(model, arrays, outputs)

    return handler


def rows_in(text: bytes) -> Any:
    """The rows of one output of an answer."""
    return orjson.loads(b"[" + text + b"]")


class Desk:
    """A batcher, and what its backend was called with. How long calls take is not known to it, but where `timed`.

    Without `cores` it shares them with nobody.
    """

    def __init__(
        self,
        handler: Handler = double,
        entry: ModelEntry = PLAIN,
        timed: bool = False,
        cores: SharedCores | None = None,
    ) -> None:
        self.backend = FakeBackend(handler)
        self.codec = Codec(entry)
        self.table = counters.make_table([entry.name])
        loop = asyncio.get_running_loop()
        clock = loop.time if timed else lambda: 0.0
        self.batcher = Batcher(
            ModelCalls(entry, self.codec, self.backend),
            cores or SharedCores(0, clock),
            counters.WorkerCounters(self.table, 0),
            clock,
        )

    def ask(self, *values: float, timeout: float = 5.0, timings: RequestTimings | None = None) -> asyncio.Task[Any]:
        """A request with one row for each value; the values of its answer."""
        noted = timings or RequestTimings()

        async def values_of() -> Any:
            deadline = asyncio.get_running_loop().time() + timeout
            (text,) = await self.batcher.submit(([[value] for value in values],), deadline, noted)
            return [value for (value,) in rows_in(text)]

        return asyncio.get_running_loop().create_task(values_of())

    async def ask_as_json(self, features: Any) -> Texts:
        """A request as a client writes it."""
        parsed = self.codec.request.parse(orjson.dumps({"features": features}))
        return await self.batcher.submit(parsed, asyncio.get_running_loop().time() + 5, RequestTimings())

    def cell(self, cell: int) -> float:
        """One of the model's numbers in the shared table."""
        return counters.total(self.table, "m", cell)

    @property
    def queued(self) -> int:
        """Requests that wait for a call."""
        return int(self.cell(counters.QUEUED))

    @property
    def sent(self) -> list[list[float]]:
        """The values of each call."""
        return [call.arrays["x"].ravel().tolist() for call in self.backend.calls]


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def all_of(*tasks: asyncio.Task[Any]) -> Results:
    """Answers, and an error's class in the place of its answer."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else result for result in results]


async def let_go(held: Held, tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Open every gate, of later calls too, until the tasks are done."""
    while not all(task.done() for task in tasks):
        for gate in held.gates:
            gate.set()
        await turns()


async def fill(desk: Desk, held: Held, calls: int) -> list[asyncio.Task[Any]]:
    """As many calls in flight, each of one request of its own: -1, -2, …"""
    tasks = []
    for i in range(calls):
        tasks.append(desk.ask(-1.0 - i))
        await turns()
    assert len(held.gates) == calls
    return tasks
