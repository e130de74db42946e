"""A few clients of one model, which ask again at once: their rows are joined, however few they are and quick it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapter.backend.protocol import Arrays
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.entries import make_entry
from tests.support.fakes.loop import in_counted_time
from tests.support.lifecycle.lifecycle_desk import Desk, double

ONE = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=64)
TWO = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=64, instances=2)
QUICK, SLOW = 0.0004, 0.02


class Model:
    """Takes `seconds` a call, so many at a time, and 200 µs there and back besides."""

    def __init__(self, seconds: float, instances: int) -> None:
        self.seconds = seconds
        self.highest = 0
        self._under_way = 0
        self._free = asyncio.Semaphore(instances)

    async def __call__(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        self._under_way += 1
        self.highest = max(self.highest, self._under_way)
        await asyncio.sleep(0.0001)
        async with self._free:
            await asyncio.sleep(self.seconds)
        await asyncio.sleep(0.0001)
        self._under_way -= 1
        return await double(model, arrays, outputs)


async def load(seconds: float, clients: int, entry: ModelEntry = ONE) -> tuple[Desk, Model]:
    """After each client asked 100 times in a row, and got its own answers."""
    model = Model(seconds, entry.spec.instances)
    desk = Desk(model, entry, timed=True)

    async def client(number: int) -> None:
        for i in range(100):
            value = float(1000 * number + i)
            assert await desk.ask(value) == [2 * value]

    # Alone at first: how long a call takes is known after that.
    for value in range(20):
        await desk.ask(value)
    await asyncio.gather(*(client(number) for number in range(clients)))
    return desk, model


@pytest.mark.parametrize(("entry", "clients"), [(ONE, 2), (ONE, 4), (TWO, 4), (TWO, 8)])
def test_no_more_calls_are_under_way_than_the_model_has_instances(entry: ModelEntry, clients: int) -> None:
    @in_counted_time
    async def run() -> None:
        _, model = await load(QUICK, clients, entry)
        assert model.highest <= entry.spec.instances

    run()


@pytest.mark.parametrize(("seconds", "clients"), [(QUICK, 2), (QUICK, 4), (QUICK, 32), (SLOW, 2), (SLOW, 4)])
def test_clients_that_ask_again_at_once_go_together(seconds: float, clients: int) -> None:
    @in_counted_time
    async def run() -> None:
        desk, _ = await load(seconds, clients)
        # A few are left at the very end.
        sizes = [len(call) for call in desk.sent[20:]]
        assert sum(sizes) == 100 * clients
        assert sum(size == clients for size in sizes) > 0.8 * 100

    run()


@in_counted_time
async def test_requests_of_many_rows_are_joined_however_few_they_are() -> None:
    desk = Desk(Model(QUICK, 1), ONE, timed=True)
    for value in range(20):
        await desk.ask(value)

    async def client(number: int) -> None:
        for i in range(50):
            values = [float(1000 * number + 10 * i + row) for row in range(8)]
            assert await desk.ask(*values) == [2 * value for value in values]

    await asyncio.gather(*(client(number) for number in range(4)))
    sizes = [len(call) for call in desk.sent[20:]]
    assert sum(sizes) == 4 * 50 * 8
    assert sum(size == 32 for size in sizes) > 0.9 * len(sizes)
