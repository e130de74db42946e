"""More requests than a model can answer within their deadline: its time goes to those that it still can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from converter.schema.manifest import Tensor
from tests.support.fakes.loop import in_counted_time
from tests.support.lifecycle.lifecycle_desk import Desk, double

# The model takes 80 rows a second. Queued for longer than this, a request is late.
ROWS, CALL_SECONDS, TIMEOUT = 8, 0.1, 1.0


class OneByOne:
    """A model with one instance. Calls wait for one another as they do in Triton, also where nobody waits for them."""

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self.seconds = seconds
        self._lock = asyncio.Lock()

    async def __call__(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return await asyncio.shield(asyncio.ensure_future(self._answer(model, arrays, outputs)))

    async def _answer(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        async with self._lock:
            await asyncio.sleep(self.seconds)
        return await double(model, arrays, outputs)


async def offer(desk: Desk, rate: float, seconds: float) -> list[asyncio.Task[Any]]:
    """So many requests a second, answered or not."""
    tasks = []
    for number in range(int(rate * seconds)):
        tasks.append(desk.ask(float(number), timeout=TIMEOUT))
        await asyncio.sleep(1 / rate)
    return tasks


async def answered(tasks: Sequence[asyncio.Task[Any]]) -> int:
    """How many got their numbers; the others are late, and nothing else."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    good = [result for result in results if not isinstance(result, BaseException)]
    assert good == [[2.0 * number] for number, result in enumerate(results) if not isinstance(result, BaseException)]
    assert {type(result) for result in results if isinstance(result, BaseException)} <= {errors.DeadlineExceeded}
    return len(good)


@pytest.mark.parametrize("times", [1.5, 5.0])
@in_counted_time
async def test_queues_full_of_late_requests_keep_the_model_answering(times: float) -> None:
    """First in, first out alone would send each when its deadline is about to pass, and answer none in time."""
    peak = ROWS / CALL_SECONDS
    tasks = await offer(Desk(OneByOne(), timed=True), times * peak, 10)
    assert await answered(tasks) >= 0.9 * peak * 10


@pytest.mark.parametrize("seconds", [0.02, 0.3])
@in_counted_time
async def test_what_a_model_takes_is_learned_again_when_it_changes(seconds: float) -> None:
    model = OneByOne()
    desk = Desk(model, timed=True)
    before = await offer(desk, 400, 5)
    model.seconds = seconds
    # Calls that come too late at first are no waste: they say how long it takes now.
    between = await offer(desk, 1000, 5)
    tasks = await offer(desk, 1000, 10)
    await answered(before)
    assert await _good(between) > 0
    assert await _good(tasks) >= 0.9 * 10 * ROWS / seconds


@in_counted_time
async def test_a_model_that_takes_almost_the_deadline_is_called_all_the_same() -> None:
    desk = Desk(OneByOne(0.9 * TIMEOUT), timed=True)
    tasks = await offer(desk, 2, 10)
    assert await answered(tasks) >= 5


async def _good(tasks: Sequence[asyncio.Task[Any]]) -> int:
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return sum(not isinstance(result, BaseException) for result in results)
