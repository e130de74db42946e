"""The bound of requests in flight."""

from __future__ import annotations

import asyncio

import pytest

from adapter.admission import Admission
from adapter.errors import Overloaded


def test_the_bound_is_exact_and_a_place_is_free_again_afterwards() -> None:
    admission = Admission(2)
    with admission.permit():
        with admission.permit():
            assert admission.in_flight == 2
            with pytest.raises(Overloaded), admission.permit():
                pytest.fail("a third place")
            assert admission.in_flight == 2
        assert admission.in_flight == 1
        with admission.permit():
            assert admission.in_flight == 2
    assert admission.in_flight == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_place_is_given_back_whatever_is_raised(error: type[BaseException]) -> None:
    admission = Admission(1)
    with pytest.raises(error), admission.permit():
        raise error
    assert admission.in_flight == 0


def test_a_cancelled_task_gives_its_place_back() -> None:
    admission = Admission(1)

    async def hold() -> None:
        with admission.permit():
            await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        assert admission.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert admission.in_flight == 0


def test_retry_after_follows_the_time_that_requests_take_within_1_and_60_s() -> None:
    admission = Admission(1)
    assert admission.retry_after() == 1
    for _ in range(500):
        admission.observe(3.5)
    assert admission.retry_after() == 4
    with admission.permit(), pytest.raises(Overloaded) as caught, admission.permit():
        pass
    assert caught.value.retry_after == 4
    for _ in range(500):
        admission.observe(1000)
    assert admission.retry_after() == 60
    for _ in range(500):
        admission.observe(0.002)
    assert admission.retry_after() == 1


def test_one_slow_request_does_not_move_retry_after_far() -> None:
    admission = Admission(1)
    admission.observe(15)
    assert admission.retry_after() == 1
