"""Requests of several models of a pack, joined into calls of their host."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest

from adapter import errors
from adapter.request_timings import RequestTimings, RequestTrace
from adapter.workers import counters
from converter.schema.packed_strings import pack_strings, unpack_strings
from tests.support.fakes.loop import in_counted_time
from tests.support.fakes.pack_host import Wire, double
from tests.support.lifecycle.lifecycle_desk import all_of, turns
from tests.support.packs import HOST, PackDesk, make_member


@in_counted_time
async def test_requests_of_several_models_go_in_one_call_and_each_gets_its_own_rows() -> None:
    desk = PackDesk()
    tasks = [desk.ask("a", 1), desk.ask("b", 2, 3), desk.ask("a", 4)]
    assert await all_of(*tasks) == [[2.0], [4.0, 6.0], [8.0]]
    assert desk.host.calls == [{"a": [1.0, 4.0], "b": [2.0, 3.0]}]


@pytest.mark.parametrize("join", [True, False])
@in_counted_time
async def test_what_is_counted_is_each_models_own_and_the_hosts(join: bool) -> None:
    desk = PackDesk()
    desk.host.mood("a").seconds, desk.host.mood("b").seconds = 0.003, 0.004
    tasks = [desk.ask("a", 1, join=join), desk.ask("b", 2, 3, join=join)]
    await turns()
    in_flight = [desk.cell(name, counters.IN_FLIGHT) for name in (HOST, "a", "b")]
    await all_of(*tasks)
    cells = (counters.CALLS, counters.ANSWERED, counters.CALL_ROWS)
    counted = {name: [desk.cell(name, cell) for cell in cells] for name in (HOST, "a", "b")}
    # A model's own requests in flight are its route's to count.
    assert in_flight == [2, 0, 0]
    assert desk.cell(HOST, counters.IN_FLIGHT) == 0
    assert counted == {HOST: [1, 1, 0] if join else [2, 2, 0], "a": [1, 1, 1], "b": [1, 1, 2]}
    spent = {name: counters.call_times(desk.table, name, "direct")[counters.CALL_MS_SUM] for name in ("a", "b")}
    assert spent == pytest.approx({"a": 3, "b": 4})


@in_counted_time
async def test_one_that_has_much_waiting_delays_nobody_by_more_than_a_call() -> None:
    desk = PackDesk(rows=8)
    for name in "ab":
        desk.host.mood(name).seconds = 0.01
    many = [desk.ask("a", float(i)) for i in range(1000)]
    await asyncio.sleep(0.055)
    asked = desk.loop.time()
    assert await desk.ask("b", 7) == [14.0]
    # What is left of the call under way, and a full one ahead of it; then its own, with the other one's rows in it.
    assert desk.loop.time() - asked < 0.036
    assert not all(task.done() for task in many)
    assert await all_of(*many) == [[2.0 * i] for i in range(1000)]


@in_counted_time
async def test_models_take_turns_at_the_head_of_calls() -> None:
    desk = PackDesk(*map(make_member, "abcd"), rows=8)
    held = await desk.hold("d")
    tasks = [desk.ask(name, *[1.0] * 8) for name in "aaabbbccc"]
    desk.let_go()
    await all_of(held, *tasks)
    assert [list(call) for call in desk.host.calls[1:]] == [[name] for name in "abcabcabc"]


@in_counted_time
async def test_a_call_has_at_most_the_hosts_rows_and_each_part_at_most_its_models() -> None:
    desk = PackDesk(make_member("a", direct_max_rows=2), make_member("b", direct_max_rows=8), rows=8)
    held = await desk.hold()
    tasks = [desk.ask("a", i) for i in range(5)] + [desk.ask("b", i) for i in range(10)]
    await turns()
    desk.let_go()
    await all_of(held, *tasks)
    sizes = [{name: len(values) for name, values in call.items()} for call in desk.host.calls[1:]]
    assert all(sum(call.values()) <= 8 and call.get("a", 0) <= 2 for call in sizes)
    assert sum(call.get("a", 0) for call in sizes) == 5
    assert sum(call.get("b", 0) for call in sizes) == 10


@in_counted_time
async def test_what_does_not_fit_goes_first_in_the_next_call() -> None:
    desk = PackDesk(*map(make_member, "abcd"), rows=8)
    held = await desk.hold("d")
    tasks = [desk.ask("a", *[1.0] * 5), desk.ask("b", *[1.0] * 6), desk.ask("c", 1.0)]
    await turns()
    desk.let_go()
    await all_of(held, *tasks)
    assert [list(call) for call in desk.host.calls[1:]] == [["a"], ["b", "c"]]


@in_counted_time
async def test_a_lone_request_is_called_at_once_and_takes_nobody_along() -> None:
    desk = PackDesk()
    tasks = [desk.ask("a", 1, join=False), desk.ask("b", 2, join=False)]
    assert await all_of(*tasks) == [[2.0], [4.0]]
    assert desk.host.calls == [{"a": [1.0]}, {"b": [2.0]}]


@in_counted_time
async def test_what_waits_beside_a_lone_call_goes_when_it_ends() -> None:
    desk = PackDesk()
    desk.host.mood("a").seconds = 0.001
    lone = desk.ask("a", 1, join=False)
    await turns()
    tasks = [desk.ask("b", 2, 4, 6, 8), desk.ask("a", 3)]
    assert await all_of(lone, *tasks) == [[2.0], [4.0, 8.0, 12.0, 16.0], [6.0]]
    assert desk.host.calls == [{"a": [1.0]}, {"b": [2.0, 4.0, 6.0, 8.0], "a": [3.0]}]


@in_counted_time
async def test_full_calls_go_ahead_of_the_instances() -> None:
    desk = PackDesk(rows=4)
    held = await desk.hold()
    tasks = [desk.ask(name, float(i)) for i in range(8) for name in "ab"]
    await turns()
    # One in the host, and two behind it.
    assert [sum(map(len, call.values())) for call in desk.host.calls] == [1, 4, 4]
    desk.let_go()
    await all_of(held, *tasks)


@in_counted_time
async def test_rows_with_free_axes_are_joined_with_their_like() -> None:
    desk = PackDesk(make_member("a", inputs=[("x", "float32", (-1,))], outputs=[("y", "float32", (-1,))]))
    shapes = []

    def answer(arrays: Wire) -> Wire:
        shapes.append(arrays["x"].shape)
        return double(arrays)

    desk.host.mood("a").answer = answer

    def ask(*row: float) -> asyncio.Task[object]:
        deadline = desk.loop.time() + 5
        return desk.loop.create_task(desk.ways["a"].submit(([list(row)],), deadline, RequestTimings()))

    texts = await all_of(ask(1, 2), ask(3, 4), ask(5), ask(6, 7))
    assert texts == [(b"[2.0,4.0]",), (b"[6.0,8.0]",), (b"[10.0]",), (b"[12.0,14.0]",)]
    assert sorted(shapes) == [(1, 1), (1, 2), (2, 2)]


@in_counted_time
async def test_strings_go_there_and_back() -> None:
    desk = PackDesk(make_member("a", inputs=[("x", "string", (1,))], outputs=[("y", "string", (1,))]), make_member("b"))

    def answer(arrays: Wire) -> Wire:
        texts = unpack_strings(arrays["x.bytes"], arrays["x.lengths"])
        packed, lengths = pack_strings(np.array([[text + b"!" for (text,) in texts.tolist()]], object).T)
        return {"y.bytes": packed, "y.lengths": lengths}

    desk.host.mood("a").answer = answer
    deadline = desk.loop.time() + 5
    texts = [
        desk.loop.create_task(desk.ways["a"].submit(([[text]],), deadline, RequestTimings())) for text in ("Zürich", "")
    ]
    assert await all_of(*texts, desk.ask("b", 1)) == [('["Zürich!"]'.encode(),), (b'["!"]',), [2.0]]
    assert len(desk.host.calls) == 1


@in_counted_time
async def test_free_instances_share_the_models_that_wait_unless_these_are_quick() -> None:
    desk = PackDesk(*map(make_member, "abcd"), rows=32, instances=2)
    await desk.warm(a=0.01, b=0.01, c=0.01, d=0.01)
    asked = desk.loop.time()
    await all_of(*(desk.ask(name, 1) for name in "abcd"))
    assert [list(call) for call in desk.host.calls] == [["a"], ["b"], ["c"], ["d"]]
    assert desk.loop.time() - asked == pytest.approx(0.02)
    desk = PackDesk(*map(make_member, "abcd"), rows=32, instances=2)
    await desk.warm(a=0.0001, b=0.0001, c=0.0001, d=0.0001)
    await all_of(*(desk.ask(name, 1, 2, 3) for name in "abcd"))
    assert [list(call) for call in desk.host.calls] == [["a", "b", "c", "d"]]


@in_counted_time
async def test_how_the_host_is_now_counts_after_a_reload() -> None:
    desk = PackDesk(rows=4)
    await desk.ask("a", 1)
    desk.host_entry = desk.host_entry.model_copy(update={"direct_max_rows": 8})
    held = await desk.hold()
    tasks = [desk.ask("a", i) for i in range(8)]
    await turns()
    desk.let_go()
    await all_of(held, *tasks)
    assert [len(call["a"]) for call in desk.host.calls] == [1, 1, 8]


@in_counted_time
async def test_a_host_that_has_gone_is_called_as_it_was() -> None:
    desk = PackDesk()
    desk.gone = True
    assert await all_of(desk.ask("a", 1), desk.ask("b", 2, join=False)) == [[2.0], [4.0]]


@in_counted_time
async def test_who_was_answered_is_expected_back_whichever_model_it_asks() -> None:
    desk = PackDesk(rows=32)
    desk.loop.count_turns(1e-6)
    await desk.warm(a=0.0009, b=0.0009)

    async def client(number: int) -> None:
        for i in range(6):
            await desk.ask("ab"[(number + i) % 2], float(number))
            await asyncio.sleep(0.0001 * number)

    await asyncio.gather(*(client(number) for number in range(6)))
    # The first call is of those who came first; then all six of them go together.
    assert [sum(map(len, call.values())) for call in desk.host.calls].count(6) >= 5


@in_counted_time
async def test_a_call_has_few_models_so_that_the_rows_of_the_others_gather() -> None:
    names = [f"m{number}" for number in range(12)]
    desk = PackDesk(*map(make_member, names), rows=64)
    await desk.warm(**dict.fromkeys(names, 0.0001))
    held = await desk.hold(names[-1])
    tasks = [desk.ask(name, 1.0) for name in names]
    await turns()
    # Two full calls go ahead of the host; what comes meanwhile for the models that are in none of them goes along.
    assert [list(call) for call in desk.host.calls[1:]] == [names[:5], names[5:10]]
    tasks += [desk.ask(name, 2.0) for name in names]
    desk.let_go()
    assert await all_of(held, *tasks) == [[0.0], *[[2.0]] * 12, *[[4.0]] * 12]
    rows = {name: [len(call[name]) for call in desk.host.calls[3:] if name in call] for name in names}
    assert rows == {name: [2] if name in names[10:] else [1] for name in names}


@in_counted_time
async def test_a_model_that_is_not_quick_is_called_without_its_mates() -> None:
    desk = PackDesk(*map(make_member, "abc"), rows=64)
    await desk.warm(a=0.005, b=0.005, c=0.005)
    held = await desk.hold("c")
    tasks = [desk.ask(name, 1.0) for name in "aabbb"]
    await turns()
    assert len(desk.host.calls) == 1, "no call is made ahead of the host"
    desk.let_go()
    await all_of(held, *tasks)
    assert desk.host.calls[1:] == [{"a": [1.0] * 2}, {"b": [1.0] * 3}]


@in_counted_time
async def test_the_wait_here_and_the_time_in_calls_are_told_apart() -> None:
    desk = PackDesk()
    desk.host.mood("a").seconds = 0.005
    noted = [RequestTimings() for _ in range(3)]
    tasks = [desk.ask("a", 1, join=False, timings=noted[0])]
    await turns()
    tasks += [desk.ask("b", *[2] * 4, timings=noted[1]), desk.ask("a", 3, timings=noted[2])]
    await all_of(*tasks)
    assert [timings.queue for timings in noted] == pytest.approx([0, 0.005, 0.005])
    assert [timings.model for timings in noted] == pytest.approx([0.005, 0.005, 0.005])


class Noted(RequestTrace):
    """Notes what a request is told of its calls."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def queued(self, seconds: float, ago: float) -> None:
        self.told.append(("queued", seconds, ago))

    def call(self, joined: Sequence[RequestTrace], model: str, rows: int) -> AbstractContextManager[None]:
        self.told.append(("call", len(joined), model, rows))
        return nullcontext()

    def finish(self, timings: RequestTimings, status: int, code: str) -> None:
        """Nothing here ends a request."""


@in_counted_time
async def test_a_call_is_traced_for_all_requests_of_all_models_in_it() -> None:
    desk = PackDesk()
    desk.host.mood("b").seconds = 0.5
    traces = [Noted(), Noted(), Noted()]
    noted = [RequestTimings() for _ in traces]
    for timings, trace in zip(noted, traces, strict=True):
        timings.trace = trace
    await all_of(desk.ask("a", 1, timings=noted[0]), desk.ask("b", 2, 3, timings=noted[1]))
    await desk.ask("a", 4, timings=noted[2], join=False)
    assert [trace.told for trace in traces] == [
        [("call", 2, f"{HOST}_direct", 3), ("queued", 0, 0.5)],
        [("queued", 0, 0.5)],
        [("call", 1, f"{HOST}_direct", 1)],
    ]


@in_counted_time
async def test_gone_models_are_nobodys_mates_any_more() -> None:
    desk = PackDesk(*map(make_member, "abc"))
    await desk.warm(a=0.001, b=0.1, c=0.1)
    assert desk.packs.slow_members(f"{HOST}_direct", 0.1, 20, 20) == []
    # The median of what is left beside `b` is what `a` takes.
    del desk.ways["c"]
    assert desk.packs.slow_members(f"{HOST}_direct", 0.09, 20, 20) == ["b"]
    assert desk.packs.slow_members(f"{HOST}_direct", 0.09, 20, 1000) == []
    assert desk.packs.slow_members("other_direct", 0.0, 0, 0) == []


@in_counted_time
async def test_a_full_queue_is_its_models_own() -> None:
    desk = PackDesk(make_member("a").model_copy(update={"queue_size": 3}), make_member("b"))
    held = await desk.hold()
    tasks = [desk.ask("a", i) for i in range(3)]
    await turns()
    with pytest.raises(errors.QueueFull) as caught:
        await desk.ask("a", 9)
    assert 0 <= caught.value.retry_after < 1
    mate = desk.ask("b", 5)
    await turns()
    assert [desk.cell(name, counters.QUEUED) for name in "ab"] == [3, 1]
    desk.let_go()
    assert await all_of(held, *tasks, mate) == [[0.0], [0.0], [2.0], [4.0], [10.0]]
    assert [desk.cell(name, counters.QUEUED_ROWS) for name in "ab"] == [0, 0]


@in_counted_time
async def test_those_who_are_gone_take_no_place_in_the_queue() -> None:
    desk = PackDesk(make_member("a").model_copy(update={"queue_size": 1}), make_member("b"))
    held = await desk.hold()
    assert await all_of(desk.ask("a", 1, timeout=0.01)) == [errors.DeadlineExceeded]
    later, mate = desk.ask("a", 2), desk.ask("b", 3)
    await turns()
    desk.let_go()
    assert await all_of(held, later, mate) == [[0.0], [4.0], [6.0]]
    # What is left of those who were counted would start calls that have nothing to take.
    assert desk.host.calls == [{"a": [0.0]}, {"a": [2.0], "b": [3.0]}]
