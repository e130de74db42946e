"""Requests joined into calls, with a backend in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.workers import counters
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.entries import make_entry
from tests.support.fakes.triton_http import until
from tests.support.lifecycle.lifecycle_desk import (
    PLAIN,
    TWICE,
    Desk,
    Held,
    Results,
    all_of,
    double,
    fails_where,
    fill,
    let_go,
    turns,
)  # fmt: skip


async def test_a_lone_request_is_called_at_once() -> None:
    held = Held()
    desk = Desk(held)
    task = desk.ask(1, 2)
    # The request's own turn, the flush, the call.
    await turns(3)
    assert desk.sent == [[1.0, 2.0]]
    assert desk.queued == 0
    assert desk.backend.calls[0].model == "m_direct"
    assert 4.9 < desk.backend.calls[0].timeout <= 5
    await turns()
    held.gates[0].set()
    assert await task == [2.0, 4.0]


async def test_requests_of_one_turn_go_in_one_call() -> None:
    desk = Desk()
    assert await all_of(desk.ask(1), desk.ask(2, 3), desk.ask(4)) == [[2.0], [4.0, 6.0], [8.0]]
    assert desk.sent == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(("entry", "bound"), [(PLAIN, 1), (TWICE, 2)])
async def test_over_the_bound_requests_queue_and_are_joined_first_in_first_out(entry: ModelEntry, bound: int) -> None:
    held = Held()
    desk = Desk(held, entry)
    first = await fill(desk, held, bound)
    later = []
    for values in ([1, 2, 3], [4, 5], [6], [7]):
        later.append(desk.ask(*values))
        await turns()
    assert len(desk.sent) == bound
    assert desk.queued == 4
    held.gates[-1].set()
    await until(lambda: len(held.gates) > bound)
    assert desk.sent[bound:] == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]
    for gate in held.gates:
        gate.set()
    assert await all_of(*later) == [[2.0, 4.0, 6.0], [8.0, 10.0], [12.0], [14.0]]
    assert await all_of(*first) == [[-2.0 - 2 * i] for i in range(bound)]


@pytest.mark.parametrize(("entry", "bound"), [(PLAIN, 1), (TWICE, 2)])
async def test_full_calls_go_ahead_of_the_bound_but_not_many(entry: ModelEntry, bound: int) -> None:
    held = Held()
    desk = Desk(held, entry)
    first = await fill(desk, held, bound)
    later = []
    for values in ([1, 2, 3], [4, 5, 6], [7, 8, 9], [10], [11]):
        later.append(desk.ask(*values))
        await turns()
    # The third did not fit, and nobody behind it goes first.
    assert desk.sent[bound:] == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    assert desk.queued == 3
    for start in (12, 20, 28):
        later.append(desk.ask(*range(start, start + 8)))
        await turns()
    assert desk.sent[bound + 1 :] == [[7.0, 8.0, 9.0, 10.0, 11.0]]
    assert desk.queued == 3
    await let_go(held, [*first, *later])
    assert [len(call) for call in desk.sent[bound:]] == [6, 5, 8, 8, 8]
    assert (await all_of(*later))[5:] == [[2.0 * i for i in range(start, start + 8)] for start in (12, 20, 28)]


async def test_worked_example_of_the_batchers_docstring() -> None:
    """A to E, with two instances and 8 rows a call: after each event, who is in calls, and the rows that wait."""
    held = Held()
    desk = Desk(held, TWICE)
    rows_of = {"A": 1, "B": 1, "C": 3, "D": 4, "E": 2}
    seen, tasks = [], []

    async def see() -> None:
        await turns()
        seen.append(([len(call) for call in desk.sent], int(desk.cell(counters.QUEUED_ROWS))))

    for rows in rows_of.values():
        tasks.append(desk.ask(*[1.0] * rows))
        await see()
    for gate in held.gates[:2]:
        gate.set()
        await see()
    assert seen == [
        ([1], 0), ([1, 1], 0), ([1, 1], 3), ([1, 1], 7), ([1, 1, 7], 2), ([1, 1, 7], 2), ([1, 1, 7, 2], 0),
    ]  # fmt: skip
    await let_go(held, tasks)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), most=st.sampled_from([1, 7, 32]), instances=st.integers(1, 4), guilt=st.booleans())
def test_each_request_gets_exactly_its_own_rows(seed: int, most: int, instances: int, guilt: bool) -> None:
    """Thousands of distinct rows in each example; in half of them some requests are guilty."""
    chance = random.Random(seed)
    entry = make_entry(
        inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=most, instances=instances
    ).model_copy(update={"queue_size": 2400})
    guilty: set[float] = set()
    running, highest = 0, 0

    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await turns(chance.randrange(6))
        running -= 1
        if guilty.intersection(arrays["x"].ravel().tolist()):
            raise errors.ModelFailed("no")
        return await double(model, arrays, outputs)

    async def main() -> None:
        desk = Desk(handler, entry)
        tasks, wanted = [], []
        start = 0
        for _ in range(2400 // (most + 1)):
            values = [float(value) for value in range(start, start + chance.randint(1, most))]
            start += len(values)
            wrong = guilt and chance.random() < 0.05
            if wrong:
                guilty.add(chance.choice(values))
            tasks.append(desk.ask(*values, timeout=60))
            wanted.append(errors.ModelFailed if wrong else [2 * value for value in values])
            await turns(chance.choice([0, 0, 0, 0, 1, 3]))
        assert await all_of(*tasks) == wanted
        assert max(map(len, desk.sent)) <= most
        # One for each instance, and as many more where they are quick, or two that are full.
        assert min(2, instances) <= highest <= instances + max(2, instances)
        assert desk.queued == 0
        if not guilt:
            assert sorted(chain(*desk.sent)) == [float(value) for value in range(start)]

    asyncio.run(main())


@pytest.mark.parametrize("kind", [errors.ModelFailed, errors.BadModelOutput])
async def test_the_guilty_request_is_found_by_halves(kind: type[errors.AdapterError]) -> None:
    desk = Desk(fails_where(lambda value: value == 3, kind("no", "inside")))
    tasks = [desk.ask(float(i)) for i in range(8)]
    wanted: Results = [[2.0 * i] for i in range(8)]
    wanted[3] = kind
    assert await all_of(*tasks) == wanted
    assert [[int(value) for value in values] for values in desk.sent] == [
        [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4, 5, 6, 7],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [errors.UpstreamDown("no"), errors.ModelUnavailable("no"), errors.DeadlineExceeded("no"),
     errors.UpstreamRefused("no"), errors.QueueFull("no"), RuntimeError("no")],
)  # fmt: skip
async def test_other_errors_are_everybodys_without_a_second_call(error: Exception) -> None:
    desk = Desk(fails_where(lambda value: value == 2, error))
    assert await all_of(desk.ask(1), desk.ask(2), desk.ask(3)) == [type(error)] * 3
    assert len(desk.sent) == 1
    assert await desk.ask(1) == [2.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_a_number_that_is_not_finite_is_its_own_requests(bad: float) -> None:
    desk = Desk()
    results = await all_of(desk.ask(1), desk.ask(2, bad), desk.ask(3))
    assert results == [[2.0], errors.BadModelOutput, [6.0]]
    assert await all_of(desk.ask(bad)) == [errors.BadModelOutput]
    assert len(desk.sent) == 2


@pytest.mark.parametrize("change", [-1, 1])
async def test_a_wrong_number_of_rows_is_nobody_elses(change: int) -> None:
    async def miscounts(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        good = np.asarray(arrays["x"] * 2, np.float32)
        return {"y": np.resize(good, (len(good) + change, 1)) if 5 in good / 2 else good}

    desk = Desk(miscounts)
    assert await all_of(desk.ask(1), desk.ask(5, 6), desk.ask(3)) == [[2.0], errors.BadModelOutput, [6.0]]
