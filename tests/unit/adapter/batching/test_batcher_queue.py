"""The queue of a batcher: its bounds, deadlines that pass in it, and clients that leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapter import errors
from adapter.workers import counters
from tests.support.fakes.backend import Handler
from tests.support.lifecycle.lifecycle_desk import PLAIN, Desk, Held, all_of, double, fails_where, fill, let_go, turns
from tests.support.living_objects import living


async def test_whoever_was_answered_is_not_kept_until_its_deadline() -> None:
    failure = errors.ModelFailed("no")
    desk = Desk(fails_where(lambda value: value == 3, failure))
    before = living(asyncio.Future)
    tasks = [desk.ask(float(i), timeout=1000) for i in range(5)]
    await turns(1)
    tasks[0].cancel()
    assert await all_of(*tasks) == [asyncio.CancelledError, [2.0], [4.0], errors.ModelFailed, [8.0]]
    # Frames hold what they waited for.
    failure.__traceback__ = None
    tasks.clear()
    await asyncio.sleep(0)
    assert living(asyncio.Future) <= before


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
    assert desk.queued == 0


@pytest.mark.parametrize("then", [double, fails_where(lambda value: value == 5, errors.ModelFailed("no"))])
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
    assert desk.queued == 3
    await let_go(held, tasks)
    assert await all_of(*tasks) == [[-2.0], [0.0], [2.0], [4.0]]
    assert desk.sent == [[-1.0], [0.0, 1.0, 2.0]]


async def test_those_who_are_gone_take_no_place_in_the_queue() -> None:
    held = Held()
    desk = Desk(held, PLAIN.model_copy(update={"queue_size": 1}))
    tasks = await fill(desk, held, 1)
    assert await all_of(desk.ask(1, timeout=0.01)) == [errors.DeadlineExceeded]
    tasks.append(desk.ask(2))
    await turns()
    await let_go(held, tasks)
    assert await all_of(*tasks) == [[-2.0], [4.0]]


async def test_the_queue_is_bounded_in_rows_too() -> None:
    """16 rows for each place, and at least 8 full calls."""
    held = Held()
    desk = Desk(held, PLAIN.model_copy(update={"queue_size": 11, "direct_max_rows": 22}))
    tasks = await fill(desk, held, 1)
    # Two full calls go ahead.
    for count in (2, 8):
        tasks += [desk.ask(*map(float, range(22))) for _ in range(count)]
        await turns()
    assert desk.cell(counters.QUEUED_ROWS) == 176
    with pytest.raises(errors.QueueFull):
        await desk.ask(1)
    await let_go(held, tasks)
    assert await all_of(*tasks) == [[-2.0]] + [[2.0 * i for i in range(22)]] * 10
    assert desk.cell(counters.QUEUED_ROWS) == 0


async def test_rows_of_those_who_are_gone_are_not_counted() -> None:
    held = Held()
    desk = Desk(held)
    tasks = await fill(desk, held, 1)
    leaving = desk.ask(1, 2, 3)
    await turns()
    assert desk.cell(counters.QUEUED_ROWS) == 3
    leaving.cancel()
    tasks.append(desk.ask(4))
    await let_go(held, tasks)
    assert desk.cell(counters.QUEUED_ROWS) == 0


async def deadline_of(task: asyncio.Task[Any]) -> errors.DeadlineExceeded:
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await task
    return caught.value


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
    assert desk.cell(counters.ANSWERED) == 2


async def test_a_request_in_a_call_that_hangs_was_not_queued() -> None:
    desk = Desk(Held())
    assert not (await deadline_of(desk.ask(1, timeout=0.02))).queued
