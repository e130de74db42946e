"""Requests joined into calls, with a backend in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import errors, tally
from adapter.backend.protocol import Arrays
from converter.spec.manifest import ModelEntry, Tensor
from tests.fakes.backend import FakeBackend, Handler
from tests.fakes.entries import make_entry
from tests.fakes.triton_http import until
from tests.unit.adapter.desk import (
    PLAIN,
    TWICE,
    Desk,
    Held,
    Results,
    all_of,
    double,
    fails_where,
    fill,
    in_a_loop,
    let_go,
    rows_in,
    turns,
)  # fmt: skip


@in_a_loop
async def test_a_lone_request_is_called_at_once() -> None:
    held = Held()
    desk = Desk(held)
    task = desk.ask(1, 2)
    # The request's own turn, the flush, the call.
    await turns(3)
    assert desk.sent == [[1.0, 2.0]]
    assert desk.dispatcher.queued == 0
    assert desk.backend.calls[0].model == "m_direct"
    assert 4.9 < desk.backend.calls[0].timeout <= 5
    await turns()
    held.gates[0].set()
    assert await task == [2.0, 4.0]


@in_a_loop
async def test_requests_of_one_turn_go_in_one_call() -> None:
    desk = Desk()
    assert await all_of(desk.ask(1), desk.ask(2, 3), desk.ask(4)) == [[2.0], [4.0, 6.0], [8.0]]
    assert desk.sent == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(("entry", "bound"), [(PLAIN, 1), (TWICE, 2)])
@in_a_loop
async def test_over_the_bound_requests_queue_and_are_joined_first_in_first_out(entry: ModelEntry, bound: int) -> None:
    held = Held()
    desk = Desk(held, entry)
    first = await fill(desk, held, bound)
    later = []
    for values in ([1, 2, 3], [4, 5], [6], [7]):
        later.append(desk.ask(*values))
        await turns()
    assert len(desk.sent) == bound
    assert desk.dispatcher.queued == 4
    held.gates[-1].set()
    await until(lambda: len(held.gates) > bound)
    assert desk.sent[bound:] == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]
    for gate in held.gates:
        gate.set()
    assert await all_of(*later) == [[2.0, 4.0, 6.0], [8.0, 10.0], [12.0], [14.0]]
    assert await all_of(*first) == [[-2.0 - 2 * i] for i in range(bound)]


@pytest.mark.parametrize(("entry", "bound"), [(PLAIN, 1), (TWICE, 2)])
@in_a_loop
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
    assert desk.dispatcher.queued == 3
    for start in (12, 20, 28):
        later.append(desk.ask(*range(start, start + 8)))
        await turns()
    assert desk.sent[bound + 1 :] == [[7.0, 8.0, 9.0, 10.0, 11.0]]
    assert desk.dispatcher.queued == 3
    await let_go(held, [*first, *later])
    assert [len(call) for call in desk.sent[bound:]] == [6, 5, 8, 8, 8]
    assert (await all_of(*later))[5:] == [[2.0 * i for i in range(start, start + 8)] for start in (12, 20, 28)]


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
            tasks.append(desk.ask(*values))
            wanted.append(errors.ModelFailed if wrong else [2 * value for value in values])
            await turns(chance.choice([0, 0, 0, 0, 1, 3]))
        assert await all_of(*tasks) == wanted
        assert max(map(len, desk.sent)) <= most
        # One for each instance, and as many more where they are quick, or two that are full.
        assert min(2, instances) <= highest <= instances + max(2, instances)
        assert desk.dispatcher.queued == 0
        if not guilt:
            assert sorted(chain(*desk.sent)) == [float(value) for value in range(start)]

    asyncio.run(main())


@pytest.mark.parametrize("kind", [errors.ModelFailed, errors.BadModelOutput])
@in_a_loop
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
@in_a_loop
async def test_other_errors_are_everybodys_without_a_second_call(error: Exception) -> None:
    desk = Desk(fails_where(lambda value: value == 2, error))
    assert await all_of(desk.ask(1), desk.ask(2), desk.ask(3)) == [type(error)] * 3
    assert len(desk.sent) == 1
    assert await desk.ask(1) == [2.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@in_a_loop
async def test_a_number_that_is_not_finite_is_its_own_requests(bad: float) -> None:
    desk = Desk()
    results = await all_of(desk.ask(1), desk.ask(2, bad), desk.ask(3))
    assert results == [[2.0], errors.BadModelOutput, [6.0]]
    assert await all_of(desk.ask(bad)) == [errors.BadModelOutput]
    assert len(desk.sent) == 2


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_rows_is_nobody_elses(change: int) -> None:
    async def miscounts(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        good = np.asarray(arrays["x"] * 2, np.float32)
        return {"y": np.resize(good, (len(good) + change, 1)) if 5 in good / 2 else good}

    async def main() -> None:
        desk = Desk(miscounts)
        assert await all_of(desk.ask(1), desk.ask(5, 6), desk.ask(3)) == [[2.0], errors.BadModelOutput, [6.0]]

    asyncio.run(main())


def named(entry: ModelEntry, handler: Handler, requests: Sequence[Any]) -> tuple[Results, FakeBackend]:
    """These features in one turn: the outputs of each as lists."""

    async def main() -> tuple[Results, FakeBackend]:
        desk = Desk(handler, entry)
        results = await asyncio.gather(*[desk.ask_as_json(features) for features in requests])
        names = [tensor.name for tensor in entry.outputs]
        return [dict(zip(names, map(rows_in, texts), strict=True)) for texts in results], desk.backend

    return asyncio.run(main())


def test_strings_are_joined_and_parted() -> None:
    entry = make_entry(inputs=[("x", "string", (1,))], outputs=[("y", "string", (1,))])

    async def mirror(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": arrays["x"]}

    texts = [[["a"]], [[""], ["é" * 1000]], [["\0"]]]
    results, backend = named(entry, mirror, texts)
    assert results == [{"y": text} for text in texts]
    assert len(backend.calls) == 1
    assert backend.calls[0].arrays["x"].dtype == np.object_
    assert backend.calls[0].arrays["x"].tolist() == [[b"a"], [b""], [b"\xc3\xa9" * 1000], [b"\0"]]


def test_several_named_inputs_and_outputs_stay_together() -> None:
    entry = make_entry(
        inputs=[("a", "float32", (1,)), ("b", "int64", (2,))], outputs=[("s", "int64", (1,)), ("t", "float32", (1,))]
    )

    async def both(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        assert arrays["b"].dtype == np.int64
        return {"s": arrays["b"].sum(axis=1, keepdims=True), "t": arrays["a"] * 2}

    def request(rows: int, start: int) -> Any:
        numbers = range(start, start + rows)
        # The order of the names is the request's own.
        return {"b": [[number, number * 10] for number in numbers], "a": [[number] for number in numbers]}

    results, backend = named(entry, both, [request(1, 1), request(3, 2), request(2, 5)])
    assert len(backend.calls) == 1
    assert results == [
        {"s": [[11]], "t": [[2.0]]},
        {"s": [[22], [33], [44]], "t": [[4.0], [6.0], [8.0]]},
        {"s": [[55], [66]], "t": [[10.0], [12.0]]},
    ]


def test_requests_whose_free_axes_differ_are_each_answered() -> None:
    entry = make_entry(inputs=[("x", "float32", (-1,))], outputs=[("y", "float32", (-1,))])
    requests = [[[width] * width] * rows for rows, width in ((1, 2), (2, 2), (1, 3), (2, 1))]
    results, backend = named(entry, double, requests)
    assert results == [
        {"y": [[4.0, 4.0]]}, {"y": [[4.0, 4.0]] * 2}, {"y": [[6.0, 6.0, 6.0]]}, {"y": [[2.0]] * 2}
    ]  # fmt: skip
    assert [call.arrays["x"].shape for call in backend.calls] == [(3, 2), (1, 3), (2, 1)]


def test_rows_that_differ_in_a_later_axis_are_not_joined() -> None:
    entry = make_entry(inputs=[("x", "float32", (2, -1))], outputs=[("y", "float32", (2, -1))])
    requests = [[[[1] * width] * 2] for width in (1, 3, 3)]
    results, backend = named(entry, double, requests)
    assert results == [{"y": [[[2.0] * width] * 2]} for width in (1, 3, 3)]
    assert [call.arrays["x"].shape for call in backend.calls] == [(1, 2, 1), (2, 2, 3)]


@in_a_loop
async def test_whoever_was_answered_is_not_kept_until_its_deadline() -> None:
    desk = Desk(fails_where(lambda value: value == 3, errors.ModelFailed("no")))
    tasks = [desk.ask(float(i), timeout=1000) for i in range(5)]
    await turns(1)
    tasks[0].cancel()
    assert await all_of(*tasks) == [asyncio.CancelledError, [2.0], [4.0], errors.ModelFailed, [8.0]]
    assert len(desk.dispatcher._deadlines._pending) == 0


@in_a_loop
async def test_R13_a_request_past_its_deadline_is_told_on_time_and_its_neighbours_are_answered() -> None:
    held = Held()
    desk = Desk(held)
    started = asyncio.get_running_loop().time()
    tasks = [desk.ask(1), desk.ask(2, 3, timeout=0.05), desk.ask(4)]
    assert await all_of(tasks[1]) == [errors.DeadlineExceeded]
    assert 0.04 < asyncio.get_running_loop().time() - started < 0.5
    held.gates[0].set()
    assert await all_of(tasks[0], tasks[2]) == [[2.0], [8.0]]
    assert desk.sent == [[1.0, 2.0, 3.0, 4.0]]
    assert 4.9 < desk.backend.calls[0].timeout <= 5


@in_a_loop
async def test_R13_what_expired_or_was_cancelled_in_the_queue_is_never_sent() -> None:
    held = Held()
    desk = Desk(held)
    (first,) = await fill(desk, held, 1)
    tasks = [desk.ask(1, timeout=0.02), desk.ask(2), desk.ask(3), desk.ask(4, timeout=0)]
    await turns()
    tasks[2].cancel()
    assert await all_of(tasks[0], tasks[2], tasks[3]) == [
        errors.DeadlineExceeded, asyncio.CancelledError, errors.DeadlineExceeded,
    ]  # fmt: skip
    await let_go(held, [first, tasks[1]])
    assert await all_of(first, tasks[1]) == [[-2.0], [4.0]]
    assert desk.sent[1:] == [[2.0]]
    assert desk.dispatcher.queued == 0


@pytest.mark.parametrize("then", [double, fails_where(lambda value: value == 5, errors.ModelFailed("no"))])
@in_a_loop
async def test_a_cancelled_client_changes_nothing_for_its_neighbours_and_is_not_sent_again(then: Handler) -> None:
    held = Held(then)
    desk = Desk(held)
    tasks = [desk.ask(float(i)) for i in (1, 3, 2, 5)]
    await turns()
    tasks[2].cancel()
    await let_go(held, tasks)
    guilty = [10.0] if then is double else errors.ModelFailed
    assert await all_of(*tasks) == [[2.0], [6.0], asyncio.CancelledError, guilty]
    assert [2.0] not in desk.sent


@in_a_loop
async def test_over_its_bound_the_queue_is_full_for_the_next_one_only() -> None:
    held = Held()
    desk = Desk(held, PLAIN.model_copy(update={"queue_size": 3}))
    tasks = await fill(desk, held, 1)
    for i in range(3):
        tasks.append(desk.ask(float(i)))
    await turns()
    with pytest.raises(errors.QueueFull) as caught:
        await desk.ask(9)
    assert 0 <= caught.value.retry_after < 1
    assert desk.dispatcher.queued == 3
    await let_go(held, tasks)
    assert await all_of(*tasks) == [[-2.0], [0.0], [2.0], [4.0]]
    assert desk.sent == [[-1.0], [0.0, 1.0, 2.0]]


@in_a_loop
async def test_those_who_are_gone_take_no_place_in_the_queue() -> None:
    held = Held()
    desk = Desk(held, PLAIN.model_copy(update={"queue_size": 1}))
    tasks = await fill(desk, held, 1)
    assert await all_of(desk.ask(1, timeout=0.01)) == [errors.DeadlineExceeded]
    tasks.append(desk.ask(2))
    await turns()
    await let_go(held, tasks)
    assert await all_of(*tasks) == [[-2.0], [4.0]]


@in_a_loop
async def test_the_queue_is_bounded_in_rows_too() -> None:
    """16 rows for each place, and at least 8 full calls."""
    held = Held()
    desk = Desk(held, PLAIN.model_copy(update={"queue_size": 11, "direct_max_rows": 22}))
    tasks = await fill(desk, held, 1)
    # Two full calls go ahead.
    for count in (2, 8):
        tasks += [desk.ask(*map(float, range(22))) for _ in range(count)]
        await turns()
    assert desk.cell(tally.QUEUED_ROWS) == 176
    with pytest.raises(errors.QueueFull):
        await desk.ask(1)
    await let_go(held, tasks)
    assert await all_of(*tasks) == [[-2.0]] + [[2.0 * i for i in range(22)]] * 10
    assert desk.cell(tally.QUEUED_ROWS) == 0


@in_a_loop
async def test_rows_of_those_who_are_gone_are_not_counted() -> None:
    held = Held()
    desk = Desk(held)
    tasks = await fill(desk, held, 1)
    leaving = desk.ask(1, 2, 3)
    await turns()
    assert desk.cell(tally.QUEUED_ROWS) == 3
    leaving.cancel()
    tasks.append(desk.ask(4))
    await let_go(held, tasks)
    assert desk.cell(tally.QUEUED_ROWS) == 0


async def deadline_of(task: asyncio.Task[Any]) -> errors.DeadlineExceeded:
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await task
    return caught.value


@in_a_loop
async def test_who_expires_in_the_queue_says_whether_anything_was_answered_meanwhile() -> None:
    held = Held()
    desk = Desk(held)
    tasks = await fill(desk, held, 1)
    # Behind a call that never answers: that one hangs.
    assert not (await deadline_of(desk.ask(1, timeout=0.02))).queued
    # Behind calls that are answered, one after the other: there are too many requests.
    tasks.append(desk.ask(*[2.0] * 8))
    behind = desk.ask(3, timeout=0.05)
    await turns()
    held.gates[0].set()
    assert (await deadline_of(behind)).queued
    await let_go(held, tasks)
    assert desk.cell(tally.ANSWERED) == 2


@in_a_loop
async def test_a_request_in_a_call_that_hangs_was_not_queued() -> None:
    desk = Desk(Held())
    assert not (await deadline_of(desk.ask(1, timeout=0.02))).queued
