"""The wait for the clients that were just answered."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from adapter.backend.protocol import Arrays
from adapter.batching import linger
from adapter.batching.linger import Linger
from converter.schema.manifest import Tensor
from tests.support.batching import Arrivals, make_call_times
from tests.support.fakes.backend import Handler
from tests.support.fakes.loop import counted_loop, in_counted_time
from tests.support.lifecycle.lifecycle_desk import Desk, all_of, double

CALL = 0.008
LONGEST = 0.006
# Too short for the loop's timers.
SHORT_CALL = 0.002
# So few failures in a row, and the wait is given up.
FAILURES = math.ceil(math.log(linger.WORTH_IT) / math.log(1 - linger.WEIGHT))


class Waits(Arrivals):
    """A Linger, and the queue that it waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.times = make_call_times()
        self.linger = Linger(self.queue, self.times, counted_loop().time)

    def wait(self, requests: int, call_seconds: float) -> Coroutine[Any, Any, None]:
        self.times.mean = call_seconds
        return self.linger.wait(requests)

    @property
    def expected(self) -> int:
        return self.linger.expected


async def waited(waits: Waits, requests: int, call_seconds: float, *arrivals: float) -> float:
    """How long it waited, while requests arrive at these times from its beginning; all is over afterwards."""
    loop = counted_loop()
    started = loop.time()
    for seconds in arrivals:
        loop.call_later(seconds, waits.arrive)
    await waits.wait(requests, call_seconds)
    took = loop.time() - started
    assert waits.expected == 0
    await asyncio.sleep(1)
    assert loop.waiting == []
    waits.clear()
    return took


@in_counted_time
async def test_it_waits_until_all_are_there_and_no_longer() -> None:
    assert await waited(Waits(), 3, CALL, 0.001, 0.003, 0.005, 0.0055) == pytest.approx(0.005)
    assert await waited(Waits(), 2, CALL, 0.001, 0.003, 0.005, 0.0055) == pytest.approx(0.003)


@in_counted_time
async def test_some_who_are_missing_end_it_after_a_part_of_a_call() -> None:
    assert await waited(Waits(), 3, CALL, 0.001, 0.002) == pytest.approx(LONGEST)
    assert await waited(Waits(), 3, CALL) == pytest.approx(LONGEST)


@pytest.mark.parametrize(("call_seconds", "longest"), [(0.004, 0.003), (0.01, 0.0075), (0.02, 0.01), (5.0, 0.01)])
@in_counted_time
async def test_the_longest_wait_is_short_beside_a_call(call_seconds: float, longest: float) -> None:
    assert await waited(Waits(), 2, call_seconds) == pytest.approx(longest)


@pytest.mark.parametrize(
    ("requests", "call_seconds"),
    [
        (2, 0.00009),  # over before they could come
        (2, 0.0),
        (1, CALL),  # nobody else
        (0, CALL),
        (8, 0.0004),  # more than can be there in 0.3 ms
        (151, CALL),  # more than can be there in 6 ms
        (251, 1.0),  # and in 10 ms
    ],
)
@in_counted_time
async def test_it_does_not_wait_where_that_is_of_no_use(requests: int, call_seconds: float) -> None:
    waits = Waits()
    # To its end in one step: nothing is awaited.
    with pytest.raises(StopIteration):
        waits.wait(requests, call_seconds).send(None)
    assert waits.expected == 0
    assert counted_loop().waiting == []


@in_counted_time
async def test_as_many_as_can_be_there_in_time_are_waited_for() -> None:
    assert await waited(Waits(), 149, CALL) == pytest.approx(LONGEST)
    assert await waited(Waits(), 249, 1.0) == pytest.approx(0.01)


@in_counted_time
async def test_waits_too_short_for_timers_end_as_exactly_and_others_go_on_meanwhile() -> None:
    loop, waits = counted_loop(), Waits()
    loop.count_turns(1e-6)
    started, counted = loop.time(), len(loop.timers)
    task = asyncio.create_task(waits.wait(3, SHORT_CALL))
    turns_of_others = 0
    while not task.done():
        turns_of_others += 1
        await asyncio.sleep(0)
    assert loop.time() - started == pytest.approx(0.0015, abs=5e-6)
    assert turns_of_others > 1000
    assert len(loop.timers) == counted

    started = loop.time()
    task = asyncio.create_task(waits.wait(2, SHORT_CALL))
    await asyncio.sleep(0)
    assert waits.expected == 2
    waits.arrive()
    for _ in range(300):
        await asyncio.sleep(0)
    assert not task.done()
    waits.arrive()
    await task
    assert loop.time() - started == pytest.approx(0.0003, abs=5e-6)
    assert waits.expected == 0
    # One failed and one did not: together they bring the end nearer by one failure.
    waits.clear()
    took = [await waited(waits, 2, CALL) for _ in range(FAILURES)]
    assert [seconds > 0 for seconds in took] == [True] * (FAILURES - 1) + [False]


@in_counted_time
async def test_a_short_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    counted_loop().count_turns(1e-6)
    waits = Waits()
    task = asyncio.create_task(waits.wait(3, SHORT_CALL))
    await asyncio.sleep(0)
    assert waits.expected == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waits.expected == 0
    for _ in range(3):
        waits.arrive()
    waits.clear()
    assert await waited(waits, 2, CALL, 0.001, 0.002) == pytest.approx(0.002, abs=1e-5)


@in_counted_time
async def test_how_many_are_expected_is_known_while_it_waits_only() -> None:
    waits = Waits()
    assert waits.expected == 0
    task = asyncio.create_task(waits.wait(3, CALL))
    await asyncio.sleep(LONGEST / 2)
    assert waits.expected == 3
    # Another call of the same model does not wait for the same clients.
    with pytest.raises(StopIteration):
        waits.wait(5, CALL).send(None)
    assert waits.expected == 3
    for _ in range(2):
        waits.arrive()
    await asyncio.sleep(0)
    assert not task.done()
    waits.arrive()
    waits.arrive()
    await task
    assert waits.expected == 0
    waits.arrive()


@in_counted_time
async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    waits = Waits()
    task = asyncio.create_task(waits.wait(3, CALL))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (waits.expected, counted_loop().waiting) == (0, [])
    assert await waited(waits, 2, CALL, 0.001, 0.002) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("call_seconds", "pauses"),
    [
        (CALL, [16, 32, 64, 128, 192, 192, 192]),
        # Beside these calls ten milliseconds are little: they may be tried more often.
        (0.08, [16, 32, 32, 32]),
        (5.0, [16, 16, 16]),
    ],
)
@in_counted_time
async def test_it_is_given_up_while_nobody_comes_and_tried_again_ever_less(
    call_seconds: float, pauses: list[int]
) -> None:
    waits = Waits()
    took = [await waited(waits, 2, call_seconds) for _ in range(FAILURES + sum(pauses) + len(pauses))]
    pattern = [(key, len(list(group))) for key, group in itertools.groupby(took, key=bool)]
    assert 2 < FAILURES < 20, "neither at the first failure nor never"
    assert pattern == [(True, FAILURES)] + [one for pause in pauses for one in ((False, pause), (True, 1))]


@in_counted_time
async def test_somebody_who_comes_makes_the_pauses_short_again() -> None:
    waits = Waits()
    for _ in range(FAILURES + 16 + 1 + 32 + 1 + 64):
        await waited(waits, 2, CALL)
    assert await waited(waits, 2, CALL, 0.001, 0.002) == pytest.approx(0.002)
    took = [await waited(waits, 2, CALL) for _ in range(FAILURES + 16 + 1 + 32 + 1)]
    assert [len(list(group)) for key, group in itertools.groupby(took, key=bool) if not key][:2] == [16, 32]


@in_counted_time
async def test_once_they_come_again_it_waits_each_time() -> None:
    waits = Waits()
    for _ in range(FAILURES):
        assert await waited(waits, 2, CALL) > 0
    for _ in range(linger.TRY_EVERY):
        assert await waited(waits, 2, CALL, 0.001, 0.002) == 0
    for _ in range(10):
        assert await waited(waits, 2, CALL, 0.001, 0.002) == pytest.approx(0.002)


def make_short() -> Handler:
    """A model of one instance: its calls are made one after the other."""
    instance = asyncio.Lock()

    async def short(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        async with instance:
            await asyncio.sleep(SHORT_CALL)
        return await double(model, arrays, outputs)

    return short


async def slow(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    await asyncio.sleep(0.01)
    return await double(model, arrays, outputs)


async def asks_again(desk: Desk, value: float, pause: float, times: int) -> None:
    for _ in range(times):
        assert await desk.ask(value) == [2 * value]
        await asyncio.sleep(pause)


@in_counted_time
async def test_clients_that_come_back_at_once_share_every_call() -> None:
    # Until calls are known to be slow they seem to be quicker.
    counted_loop().count_turns(1e-6)
    desk = Desk(slow, timed=True)
    await asyncio.gather(*(asks_again(desk, i, 0.0005 * (i + 1), 40) for i in range(4)))
    # Before the first calls it is not known that they are slow.
    assert [len(values) for values in desk.sent[20:-1]] == [4] * len(desk.sent[20:-1])
    assert len(desk.sent) < 50


@in_counted_time
async def test_so_do_clients_of_a_model_that_takes_a_millisecond_or_two() -> None:
    counted_loop().count_turns(1e-6)
    desk = Desk(make_short(), timed=True)
    await asyncio.gather(*(asks_again(desk, i, 0.0001 * (i + 1), 40) for i in range(8)))
    # They are not all through at the same time.
    assert [len(values) for values in desk.sent[20:40]] == [8] * 20
    assert len(desk.sent) < 70


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
