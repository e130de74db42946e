"""Which failures of a request count against its model, which against Triton, and which against neither."""

from __future__ import annotations

import asyncio
import time

import pytest

from adapter import errors
from adapter.limits.breakers import NO_PROBES, Breakers
from tests.support.builders import force_open, make_breakers
from tests.support.fakes.backend import zeros
from tests.support.http.predictors import Served


def fail(
    breakers: Breakers, error: errors.AdapterError, times: int = 20, own_deadline: bool = False
) -> tuple[str, str]:
    """The states of the model's breaker and of Triton's, after so many of these."""
    model_breakers = breakers["m"]
    for _ in range(times):
        model_breakers.failed(error, time.monotonic(), NO_PROBES, own_deadline)
    return model_breakers.model.state, breakers.triton.state


@pytest.mark.parametrize(
    "error",
    [
        errors.BadFeatures("no"), errors.MalformedJson("no"), errors.QueueFull("no"), errors.Overloaded("no"),
        errors.ModelFailed("no"), errors.BadModelOutput("no"), errors.ModelUnavailable("no"),
        errors.UpstreamRefused("no"), errors.BreakerOpen("no"), errors.DeadlineExceeded("no", queued=True),
    ],
)  # fmt: skip
def test_what_is_no_fault_of_the_model_or_of_triton_opens_nothing(error: errors.AdapterError) -> None:
    assert fail(make_breakers(["m"]), error, 100) == ("closed", "closed")


@pytest.mark.parametrize("error", [errors.DeadlineExceeded("no"), errors.ModelProcessDead("no")])
def test_a_model_that_hangs_or_dies_opens_its_own_breaker_alone(error: errors.AdapterError) -> None:
    breakers = make_breakers(["m", "other"])
    assert fail(breakers, error, 19) == ("closed", "closed")
    assert fail(breakers, error, 1) == ("open", "closed")
    assert breakers["other"].model.closed


def test_a_deadline_that_the_client_set_for_itself_counts_nowhere() -> None:
    assert fail(make_breakers(["m"]), errors.DeadlineExceeded("no"), 100, own_deadline=True) == ("closed", "closed")


def test_a_triton_that_is_not_there_opens_tritons_for_every_model() -> None:
    breakers = make_breakers(["m", "other"])
    assert fail(breakers, errors.UpstreamDown("no"), 5) == ("closed", "open")
    with pytest.raises(errors.BreakerOpen):
        breakers["other"].admit(15)


def test_a_model_that_raises_is_there_and_closes_its_breaker() -> None:
    served = Served(limit=10)
    force_open(served.breakers["m"].model, served.now)
    served.now += 40
    for state in ("half_open", "half_open", "closed"):

        async def raises(*_: object) -> None:
            raise errors.ModelFailed("no")

        served.backend.handler = raises  # type: ignore[assignment]  # it never answers
        with pytest.raises(errors.ModelFailed):
            served.answer([[1, 2]])
        assert served.breakers["m"].model.state == state


def test_an_open_breaker_refuses_before_any_call_and_gives_the_place_back() -> None:
    served = Served(zeros)
    force_open(served.breakers["m"].model, served.now)
    with pytest.raises(errors.BreakerOpen) as caught:
        served.answer([[1, 2]])
    assert 1 <= caught.value.retry_after <= 1.2
    assert (served.in_flight, served.backend.calls) == (0, [])


def test_a_probe_that_is_nonsense_or_leaves_makes_room_for_the_next() -> None:
    served = Served(zeros)
    breaker = served.breakers["m"].model
    force_open(breaker, served.now)
    served.now += 2
    with pytest.raises(errors.BadFeatures):
        served.answer([["a", 2]])
    assert breaker.state == "half_open"

    async def leaves() -> None:
        gate = asyncio.Event()

        async def wait(*_: object) -> None:
            await gate.wait()

        served.backend.handler = wait  # type: ignore[assignment]  # it never answers
        served.service = served.make_service()
        task = asyncio.create_task(served.ask([[1, 2]]))
        await asyncio.sleep(0.01)
        with pytest.raises(errors.BreakerOpen):
            await served.ask([[1, 2]])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leaves())
    served.backend.handler = zeros
    for _ in range(3):
        assert served.answer([[1, 2]])["predictions"] == [[0.0, 0.0]]
    assert breaker.closed


def test_a_triton_that_refuses_while_the_model_probes_leaves_the_models_place_free() -> None:
    """Both breakers are half-open: one request is the probe of both, and its end settles what it can."""
    served = Served(zeros)
    model_breakers = served.breakers["m"]
    force_open(model_breakers.model, served.now)
    force_open(model_breakers.triton, served.now)
    served.now += 2
    for _ in range(3):
        served.answer([[1, 2]])
    assert [model_breakers.model.closed, model_breakers.triton.closed] == [True, True]
