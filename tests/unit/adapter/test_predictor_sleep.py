"""A request that meets a sleeping model has it woken, and waits for that within its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.lifecycle.model_state import State
from adapter.workers import counters
from converter.schema.manifest import Tensor
from tests.support.fakes.loop import counted, in_counted_time
from tests.support.http.predictors import WIDE, Served
from tests.support.lifecycle.lifecycle_desk import double, turns

ANSWER = {"model": "m", "predictions": [[2.0, 4.0]]}


def asleep(limit: int = 10) -> Served:
    served = Served(limit=limit)
    served.model.status.adopt("asleep")
    served.service = served.make_service()
    return served


@in_counted_time
async def test_it_waits_until_the_model_is_loaded_and_tells_that_it_does() -> None:
    served = asleep()
    request = asyncio.create_task(served.ask([[1, 2]]))
    await turns()
    assert (served.model.wanted.total(), served.in_flight, served.backend.calls) == (1, 1, [])
    served.model.status.become("ready")
    assert await request == ANSWER
    assert (served.model.wanted.total(), served.in_flight) == (0, 0)


@in_counted_time
async def test_the_time_that_it_waited_is_no_time_of_parsing() -> None:
    served = asleep()
    request = asyncio.create_task(served.ask([[1, 2]]))
    await turns()
    served.now += 3.0
    served.model.status.become("ready")
    await request
    assert (served.timings.queue, served.timings.parse) == (3.0, 0.0)


@in_counted_time
async def test_it_waits_no_longer_than_its_deadline() -> None:
    served = asleep()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(errors.DeadlineExceeded):
        await served.ask([[1, 2]], timeout=2.5)
    assert loop.time() - began == pytest.approx(2.5)
    assert (served.model.wanted.total(), served.in_flight) == (0, 0)


@in_counted_time
async def test_those_that_wait_are_within_the_bound_of_all_requests() -> None:
    served = asleep(limit=1)
    waiting = asyncio.create_task(served.ask([[1, 2]]))
    await turns()
    with pytest.raises(errors.Overloaded):
        await served.ask([[1, 2]])
    served.model.status.become("ready")
    assert await waiting == ANSWER


@pytest.mark.parametrize("state", ["failed", "unavailable"])
def test_a_model_that_does_not_wake_is_not_available(state: State) -> None:
    async def main() -> None:
        served = asleep()
        request = asyncio.create_task(served.ask([[1, 2]]))
        await turns()
        served.model.status.become(state)
        with pytest.raises(errors.ModelUnavailable):
            await request
        assert served.in_flight == 0

    counted(main())


@in_counted_time
async def test_without_triton_nobody_waits() -> None:
    served = asleep()
    served.registry.triton_up = False
    with pytest.raises(errors.UpstreamDown):
        await served.ask([[1, 2]])


@in_counted_time
async def test_one_that_is_replaced_meanwhile_leads_to_the_new_version() -> None:
    served = asleep()
    request = asyncio.create_task(served.ask([[1, 2]]))
    await turns()
    served.registry.replace([WIDE.model_copy(update={"version": 2})])
    assert await request == ANSWER


@in_counted_time
async def test_one_that_is_served_no_more_is_missing() -> None:
    served = asleep()
    request = asyncio.create_task(served.ask([[1, 2]]))
    await turns()
    served.registry.replace([], ["m"])
    with pytest.raises(errors.UnknownModel):
        await request


@in_counted_time
async def test_a_request_that_was_sent_as_the_model_fell_asleep_is_sent_again() -> None:
    served = Served()

    async def unloaded(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        served.model.status.become("asleep")
        served.backend.handler = double
        raise errors.ModelUnavailable(errors.UNAVAILABLE, "not loaded")

    served.backend.handler = unloaded
    request = asyncio.create_task(served.ask([[1, 2]]))
    while not served.model.wanted.total():
        await asyncio.sleep(0)
    served.model.status.become("ready")
    assert await request == ANSWER
    assert served.cell(counters.ANSWERED) == 1
