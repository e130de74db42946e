"""Many deadlines, one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import errors
from adapter.deadline_timer import RESOLUTION, DeadlineTimer
from tests.support.fakes.loop import counted, counted_loop, in_counted_time

Future = asyncio.Future[Any]
# Sums of these are exact.
TICK = 1 / 1024


def expired(future: Future) -> bool:
    return future.done() and isinstance(future.exception(), errors.DeadlineExceeded)


def watched(ended: dict[Future, float]) -> Future:
    """A future that notes when it is done."""
    loop = asyncio.get_running_loop()
    future: Future = loop.create_future()
    future.add_done_callback(lambda _: ended.__setitem__(future, loop.time()))
    return future


@in_counted_time
async def test_a_future_ends_at_its_deadline() -> None:
    loop, deadline_timer = counted_loop(), DeadlineTimer()
    future: Future = loop.create_future()
    deadline_timer.add(future, 0.5)
    await asyncio.sleep(0.5 - TICK)
    assert not future.done()
    with pytest.raises(errors.DeadlineExceeded) as caught:
        await future
    assert loop.time() == 0.5
    assert caught.value.detail == "The request did not finish within its deadline."


@in_counted_time
async def test_a_deadline_in_the_past_ends_on_the_next_turn() -> None:
    loop, deadline_timer = counted_loop(), DeadlineTimer()
    await asyncio.sleep(1)
    future: Future = loop.create_future()
    deadline_timer.add(future, 0.5)
    await asyncio.sleep(TICK)
    assert expired(future)


@in_counted_time
async def test_what_was_discarded_or_is_done_is_left_alone() -> None:
    loop, deadline_timer = counted_loop(), DeadlineTimer()
    discarded, answered, cancelled, late = futures = [loop.create_future() for _ in range(4)]
    for future in futures:
        deadline_timer.add(future, 0.25)
    deadline_timer.discard(discarded)
    deadline_timer.discard(discarded)
    answered.set_result("answer")
    cancelled.cancel()
    await asyncio.sleep(1)
    assert not discarded.done()
    assert answered.result() == "answer"
    assert cancelled.cancelled()
    assert expired(late)


@in_counted_time
async def test_many_futures_have_one_timer() -> None:
    loop, deadline_timer = counted_loop(), DeadlineTimer()
    ended: dict[Future, float] = {}
    wanted = {watched(ended): 0.5 + i * TICK for i in range(1000)}
    for future, deadline in wanted.items():
        deadline_timer.add(future, deadline)
        assert loop.waiting == [0.5]
    while len(ended) < 1000:
        assert len(loop.waiting) <= 2, "the sweep's, and this test's own"
        await asyncio.sleep(TICK)
    assert all(expired(future) for future in wanted)
    for future, deadline in wanted.items():
        assert deadline <= ended[future] <= deadline + RESOLUTION
    # The last is a second after the first: a sweep in 5 ms and not one for each.
    assert len({round(when / TICK) for when in ended.values()}) <= 1 / RESOLUTION


@in_counted_time
async def test_an_earlier_deadline_may_be_added_later() -> None:
    loop, deadline_timer = counted_loop(), DeadlineTimer()
    ended: dict[Future, float] = {}
    last, middle, first = (watched(ended) for _ in range(3))
    deadline_timer.add(last, 2.0)
    assert loop.waiting == [2.0]
    deadline_timer.add(middle, 1.0)
    deadline_timer.add(first, 0.25)
    assert loop.waiting == [0.25]
    await asyncio.sleep(3)
    assert ended == {first: 0.25, middle: 1.0, last: 2.0}
    assert all(map(expired, ended))


@in_counted_time
async def test_with_nothing_pending_no_timer_is_left_running() -> None:
    loop, deadline_timer = counted_loop(), DeadlineTimer()
    ended: dict[Future, float] = {}
    deadline_timer.add(watched(ended), 0.25)
    await asyncio.sleep(0.25 + TICK)
    assert (list(ended.values()), loop.waiting) == ([0.25], [])
    for _ in range(5):
        future = watched(ended)
        deadline_timer.add(future, 1.0)
        deadline_timer.discard(future)
    # The one that was set finds nothing, once.
    assert loop.waiting == [1.0]
    await asyncio.sleep(1)
    assert loop.waiting == []
    future = watched(ended)
    deadline_timer.add(future, 1.5)
    await asyncio.sleep(1)
    assert (ended[future], loop.waiting) == (1.5, [])


Step = tuple[int, int, int]
STEPS = st.lists(
    # The pause before it, the time that it has, and the time after which it is done; later than its deadline: never.
    st.tuples(st.integers(0, 20), st.integers(1, 60), st.integers(0, 120)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(steps=STEPS)
def test_each_ends_in_time_whoever_comes_and_goes(steps: list[Step]) -> None:
    async def main() -> None:
        loop, deadline_timer = counted_loop(), DeadlineTimer()
        ended: dict[Future, float] = {}
        wanted: dict[Future, float] = {}
        left: list[Future] = []
        for pause, time, until in steps:
            await asyncio.sleep(pause * TICK)
            future = watched(ended)
            deadline = loop.time() + time * TICK
            deadline_timer.add(future, deadline)
            if until < time:
                left.append(future)
                loop.call_later(until * TICK, deadline_timer.discard, future)
            else:
                wanted[future] = deadline
        await asyncio.sleep(1)
        assert not any(future.done() for future in left)
        assert ended.keys() == wanted.keys()
        for future, deadline in wanted.items():
            assert expired(future)
            assert deadline <= ended[future] <= deadline + RESOLUTION
        assert loop.waiting == []

    counted(main())


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_real_loops_clock_is_kept_to(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        loop, deadline_timer = asyncio.get_running_loop(), DeadlineTimer()
        ended: dict[Future, float] = {}
        wanted = {watched(ended): loop.time() + milliseconds / 1e3 for milliseconds in (31, 1, 17.5, 2, 30)}
        for future, deadline in wanted.items():
            deadline_timer.add(future, deadline)
        await asyncio.wait(wanted)
        for future, deadline in wanted.items():
            assert expired(future)
            assert deadline <= ended[future] < deadline + 1

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
