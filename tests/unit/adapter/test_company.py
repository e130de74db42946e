"""The wait for the clients that were just answered."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence

import pytest

from adapter import company
from adapter.backend.protocol import Arrays
from adapter.company import Company
from converter.spec.manifest import Tensor
from tests.fakes.loop import counted_loop, in_counted_time
from tests.unit.adapter.desk import Desk, all_of, double

CALL = 0.008
HALF = CALL / 2
# So few failures in a row, and the wait is given up.
FAILURES = math.ceil(math.log(company._WORTH_IT) / math.log(1 - company._WEIGHT))


async def waited(waits: Company, requests: int, call_seconds: float, *arrivals: float) -> float:
    """How long it waited, while requests arrive at these times from its beginning; all is over afterwards."""
    loop = counted_loop()
    started = loop.time()
    for i, seconds in enumerate(arrivals, 1):
        loop.call_later(seconds, waits.arrived, i)
    await waits.expect(requests, call_seconds)
    took = loop.time() - started
    assert waits.expected == 0
    await asyncio.sleep(1)
    assert loop.waiting == []
    return took


@in_counted_time
async def test_it_waits_until_all_are_there_and_no_longer() -> None:
    assert await waited(Company(), 3, CALL, 0.001, 0.002, 0.003, 0.0035) == pytest.approx(0.003)
    assert await waited(Company(), 2, CALL, 0.001, 0.002, 0.003, 0.0035) == pytest.approx(0.002)


@in_counted_time
async def test_some_who_are_missing_end_it_after_a_part_of_a_call() -> None:
    assert await waited(Company(), 3, CALL, 0.001, 0.002) == pytest.approx(HALF)
    assert await waited(Company(), 3, CALL) == pytest.approx(HALF)


@pytest.mark.parametrize(("call_seconds", "longest"), [(0.004, 0.002), (0.01, 0.005), (0.02, 0.01), (5.0, 0.01)])
@in_counted_time
async def test_the_longest_wait_is_short_beside_a_call(call_seconds: float, longest: float) -> None:
    assert await waited(Company(), 2, call_seconds) == pytest.approx(longest)


@pytest.mark.parametrize(
    ("requests", "call_seconds"),
    [
        (2, 0.0039),  # a quick call
        (2, 0.0),
        (1, CALL),  # nobody else
        (0, CALL),
        (67, CALL),  # more than can be answered in 4 ms
        (167, 1.0),  # and in 10 ms
    ],
)
@in_counted_time
async def test_it_does_not_wait_where_that_is_of_no_use(requests: int, call_seconds: float) -> None:
    waits = Company()
    # To its end in one step: nothing is awaited.
    with pytest.raises(StopIteration):
        waits.expect(requests, call_seconds).send(None)
    assert waits.expected == 0
    assert counted_loop().waiting == []


@in_counted_time
async def test_as_many_as_can_be_there_in_time_are_waited_for() -> None:
    assert await waited(Company(), 66, CALL) == pytest.approx(HALF)
    assert await waited(Company(), 166, 1.0) == pytest.approx(0.01)


@in_counted_time
async def test_how_many_are_expected_is_known_while_it_waits_only() -> None:
    waits = Company()
    assert waits.expected == 0
    task = asyncio.create_task(waits.expect(3, CALL))
    await asyncio.sleep(HALF / 2)
    assert waits.expected == 3
    # Another call of the same model does not wait for the same clients.
    with pytest.raises(StopIteration):
        waits.expect(5, CALL).send(None)
    assert waits.expected == 3
    waits.arrived(2)
    await asyncio.sleep(0)
    assert not task.done()
    waits.arrived(3)
    waits.arrived(4)
    await task
    assert waits.expected == 0
    waits.arrived(5)


@in_counted_time
async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    waits = Company()
    task = asyncio.create_task(waits.expect(3, CALL))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (waits.expected, counted_loop().waiting) == (0, [])
    assert await waited(waits, 2, CALL, 0.001, 0.002) == pytest.approx(0.002)


@in_counted_time
async def test_it_is_given_up_while_nobody_comes_and_now_and_then_tried_again() -> None:
    waits = Company()
    took = [await waited(waits, 2, CALL) for _ in range(FAILURES + 5 * (company._TRY_EVERY + 1))]
    pattern = [(key, len(list(group))) for key, group in itertools.groupby(took, key=bool)]
    assert 2 < FAILURES < 20, "neither at the first failure nor never"
    assert pattern == [(True, FAILURES)] + [(False, company._TRY_EVERY), (True, 1)] * 5


@in_counted_time
async def test_once_they_come_again_it_waits_each_time() -> None:
    waits = Company()
    for _ in range(FAILURES):
        assert await waited(waits, 2, CALL) > 0
    for _ in range(company._TRY_EVERY):
        assert await waited(waits, 2, CALL, 0.001, 0.002) == 0
    for _ in range(10):
        assert await waited(waits, 2, CALL, 0.001, 0.002) == pytest.approx(0.002)


async def slow(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    await asyncio.sleep(0.01)
    return await double(model, arrays, outputs)


async def asks_again(desk: Desk, value: float, pause: float, times: int) -> None:
    for _ in range(times):
        assert await desk.ask(value) == [2 * value]
        await asyncio.sleep(pause)


@in_counted_time
async def test_clients_that_come_back_at_once_share_every_call() -> None:
    desk = Desk(slow, timed=True)
    await asyncio.gather(*(asks_again(desk, i, 0.0005 * (i + 1), 40) for i in range(4)))
    # Before the first calls it is not known that they are slow.
    assert [len(values) for values in desk.sent[20:-1]] == [4] * len(desk.sent[20:-1])
    assert len(desk.sent) < 50


@in_counted_time
async def test_a_client_that_is_alone_is_never_made_to_wait() -> None:
    desk, loop = Desk(slow, timed=True), counted_loop()
    await asks_again(desk, 1, 0, 40)
    assert loop.time() == pytest.approx(40 * 0.01)


@in_counted_time
async def test_a_full_call_waits_for_nobody() -> None:
    """What is in the queue already fills the next call: whoever came meanwhile could not go along."""
    desk, loop = Desk(slow, timed=True), counted_loop()
    await asks_again(desk, 1, 0, 40)
    started = loop.time()
    assert await all_of(*(desk.ask(float(i)) for i in range(40))) == [[2.0 * i] for i in range(40)]
    assert [len(values) for values in desk.sent[40:]] == [8, 8, 8, 8, 8]
    # Three at a time: two ahead of the bound.
    assert loop.time() - started == pytest.approx(0.02)
