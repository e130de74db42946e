"""One request through the service, with a backend in memory."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.bindings import Binding
from adapter.lifecycle.model_state import State
from converter.schema.manifest import ModelEntry, Tensor
from converter.schema.model import Endpoint
from converter.schema.settings import RegimeName
from tests.support.fakes.backend import Handler
from tests.support.fakes.entries import make_entry
from tests.support.fakes.loop import CountedLoop, counted
from tests.support.http.predictors import WIDE, Served
from tests.support.lifecycle.lifecycle_desk import Held, double


@pytest.mark.parametrize(("regime", "way"), [(None, "m_direct"), ("idle", "m_direct"), ("busy", "m")])
def test_predict_goes_to_the_model_and_predict_batched_to_the_front_where_it_is_busy(
    regime: RegimeName | None, way: str
) -> None:
    served = Served(regime=regime)
    assert served.answer([[1, 2]]) == {"model": "m", "predictions": [[2.0, 4.0]]}
    assert served.answer([[3, 4]], "predict_batched") == {"model": "m", "predictions": [[6.0, 8.0]]}
    assert [call.model for call in served.backend.calls] == ["m_direct", way]
    assert [call.arrays["x"].tolist() for call in served.backend.calls] == [[[1.0, 2.0]], [[3.0, 4.0]]]
    assert served.timings.rows == 1


@pytest.mark.parametrize(("regime", "endpoint"), [("idle", "predict"), ("rush", "predict_batched")])
def test_each_stage_has_its_time(regime: RegimeName, endpoint: Endpoint) -> None:
    ticks = itertools.count(100)
    served = Served(clock=lambda: next(ticks) / 1e3, regime=regime)
    served.answer([[1, 2]], endpoint)
    timings = served.timings
    # A tick each time that somebody looks at the clock: what lies between two looks took at least one.
    assert min(timings.parse, timings.model, timings.write) > 0
    assert (timings.queue > 0, timings.regime) == (regime == "rush", regime)


def test_a_stage_that_did_not_begin_has_no_time() -> None:
    ticks = itertools.count(100)
    served = Served(fails_with(errors.ModelFailed("no")), clock=lambda: next(ticks) / 1e3)
    with pytest.raises(errors.ModelFailed):
        served.answer([[1, 2]])
    assert served.timings.parse > 0
    assert served.timings.model > 0
    assert (served.timings.queue, served.timings.write) == (0, 0)


def test_more_rows_than_a_batch_go_in_parts_and_come_back_joined_in_order() -> None:
    served = Served()
    rows = [[i, -i] for i in range(10)]
    assert served.answer(rows)["predictions"] == [[2.0 * a, 2.0 * b] for a, b in rows]
    assert [len(call.arrays["x"]) for call in served.backend.calls] == [4, 4, 2]
    assert served.timings.rows == 10


@pytest.mark.parametrize(("rows", "calls"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_the_number_of_calls_is_the_least(rows: int, calls: int) -> None:
    served = Served()
    served.answer([[0, 0]] * rows)
    assert len(served.backend.calls) == calls


def test_several_rows_on_predict_batched_are_refused_before_any_call() -> None:
    served = Served()
    with pytest.raises(errors.AlreadyBatched) as caught:
        served.answer([[1, 2], [3, 4]], "predict_batched")
    assert "2" in caught.value.detail
    assert "/predict" in caught.value.detail
    assert served.backend.calls == []


def test_a_flat_row_is_taken_on_both_endpoints() -> None:
    served = Served()
    assert served.answer([1, 2])["predictions"] == [[2.0, 4.0]]
    assert served.answer([1, 2], "predict_batched")["predictions"] == [[2.0, 4.0]]


@pytest.mark.parametrize(("asked", "given"), [(None, 15.0), (2.0, 2.0), (60.0, 15.0)])
def test_the_deadline_is_the_shorter_of_ours_and_the_clients(asked: float | None, given: float) -> None:
    served = Served()
    served.answer([[1, 2]], timeout=asked)
    assert served.backend.calls[0].timeout == pytest.approx(given, abs=0.5)


def test_later_parts_get_what_is_left_of_the_deadline() -> None:
    async def slow(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await asyncio.sleep(6)
        return await double(model, arrays, outputs)

    loop = CountedLoop()
    served = Served(slow, clock=loop.time)
    with pytest.raises(errors.DeadlineExceeded):
        counted(served.ask([[0, 0]] * 16), loop)
    # The deadline comes before the third part's answer, and the fourth is not sent.
    assert [call.timeout for call in served.backend.calls] == pytest.approx([15.0, 9.0, 3.0])
    assert served.in_flight == 0


@pytest.mark.parametrize(
    ("state", "retry_after", "word"),
    [("waiting", 1, "not loaded yet"), ("loading", 1, "being loaded"), ("unavailable", 1, "not available"),
     ("failed", 30, "could not be loaded")],
)  # fmt: skip
def test_a_model_that_is_not_ready_is_refused_before_any_call(state: State, retry_after: int, word: str) -> None:
    served = Served()
    served.registry.triton_up = True
    served.model.status.adopt(state)
    with pytest.raises(errors.ModelUnavailable) as caught:
        served.answer([[1, 2]])
    assert caught.value.retry_after == retry_after
    assert word in caught.value.detail
    assert served.backend.calls == []
    assert served.in_flight == 0


def test_while_triton_is_down_that_is_the_reason() -> None:
    served = Served()
    served.registry.triton_up = False
    served.model.status.adopt("unavailable")
    with pytest.raises(errors.UpstreamDown) as caught:
        served.answer([[1, 2]])
    assert (caught.value.retry_after, caught.value.detail) == (1, errors.UNREACHABLE)
    assert served.backend.calls == []


def test_before_the_end_nothing_is_ready_and_new_requests_are_served() -> None:
    served = Served()
    served.registry.triton_up = True
    assert served.registry.ready
    served.service = served.make_service()
    served.service.drain()
    assert not served.registry.ready
    asyncio.run(served.ask([[1, 2]]))
    assert len(served.backend.calls) == 1
    assert served.in_flight == 0


def fails_with(error: BaseException) -> Handler:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise error

    return handler


def answers_with(outputs: Arrays) -> Handler:
    async def handler(model: str, arrays: Arrays, promised: Sequence[Tensor]) -> Arrays:
        return outputs

    return handler


@pytest.mark.parametrize(
    ("handler", "features", "kind"),
    [
        (fails_with(errors.ModelFailed("no")), [[1, 2]], errors.ModelFailed),
        (fails_with(RuntimeError("no")), [[1, 2]], RuntimeError),
        (answers_with({}), [[1, 2]], errors.BadModelOutput),
        (answers_with({"y": np.array([[np.nan, 0]], np.float32)}), [[1, 2]], errors.BadModelOutput),
        (answers_with({"y": np.zeros((2, 2), np.float32)}), [[1, 2]], errors.BadModelOutput),
        (double, [[1]], errors.BadFeatures),
    ],
)
def test_the_place_is_given_back_on_every_error(handler: Handler, features: Any, kind: type[Exception]) -> None:
    served = Served(handler, limit=1)
    for _ in range(3):
        with pytest.raises(kind):
            served.answer(features)
        assert served.in_flight == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_the_place_is_given_back_whatever_is_raised(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(limit=1)

    def parse(body: bytes) -> Any:
        assert served.in_flight == 1
        raise error

    monkeypatch.setattr(served.model.codec.request, "parse", parse)
    # Without a loop, which such exceptions would end.
    with pytest.raises(error):
        served.send(b"{}", "predict", None).send(None)
    assert served.in_flight == 0


def test_each_part_is_checked() -> None:
    async def short_at_the_end(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        good = await double(model, arrays, outputs)
        return good if len(good["y"]) == 4 else {"y": good["y"][:1]}

    served = Served(short_at_the_end)
    with pytest.raises(errors.BadModelOutput):
        served.answer([[0, 0]] * 6)


def test_parts_of_different_width_are_a_bad_output() -> None:
    async def as_wide_as_rows(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        rows = len(arrays["x"])
        return {"y": np.zeros((rows, rows), np.float32)}

    free = make_entry(inputs=[("x", "float32", (2,))], outputs=[("y", "float32", (-1,))], direct_max_rows=4)
    served = Served(as_wide_as_rows, free)
    with pytest.raises(errors.BadModelOutput) as caught:
        served.answer([[0, 0]] * 6)
    assert caught.value.inside == "the parts of a request differ in shape"


async def hang(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_cancelled_request_gives_its_place_back() -> None:
    served = Served(hang, limit=1)

    task = asyncio.create_task(served.ask([[1, 2]]))
    while not served.backend.calls:
        await asyncio.sleep(0)
    assert served.in_flight == 1
    with pytest.raises(errors.Overloaded):
        await served.ask([[1, 2]])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert served.in_flight == 0


def test_a_dead_process_is_noted_and_no_other_error_is() -> None:
    raised: list[errors.AdapterError] = [errors.ModelUnavailable("x"), errors.ModelProcessDead("x")]

    async def fail(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise raised[0]

    served = Served(fail)
    with pytest.raises(errors.ModelUnavailable):
        served.answer([[1, 2]])
    assert (served.model.ready, served.model.dead) == (True, False)
    raised.pop(0)
    with pytest.raises(errors.ModelProcessDead):
        served.answer([[1, 2]])
    assert (served.model.ready, served.model.dead) == (False, True)


def test_the_bound_is_refused_at_once_and_nobody_inside_is_harmed() -> None:
    gate = asyncio.Event()

    async def wait(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await gate.wait()
        return await double(model, arrays, outputs)

    served = Served(wait, limit=3)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(served.ask([[i, i]])) for i in range(5)]
        while not served.backend.calls:
            await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert [result["predictions"] for result in results[:3]] == [[[0.0, 0.0]], [[2.0, 2.0]], [[4.0, 4.0]]]
    assert [type(result) for result in results[3:]] == [errors.Overloaded] * 2
    assert [len(call.arrays["x"]) for call in served.backend.calls] == [1, 2], "the first was alone"


def find(entry: ModelEntry, name: str, endpoint: Endpoint) -> Binding | errors.BadRequest:
    bindings = Served(entry=entry).service.bindings
    return bindings.find(name, endpoint) or bindings.missing(name, endpoint)


def test_find_knows_models_and_their_endpoints() -> None:
    one = make_entry("m", endpoints=["predict"])
    found = find(one, "m", "predict")
    assert isinstance(found, Binding)
    assert (found.model.entry.name, found.endpoint) == ("m", "predict")
    assert isinstance(find(one, "m", "predict_batched"), errors.EndpointOff)
    for name in ("", "M", "m ", "m_direct", "../m", "m\0", "\uff4d"):
        missing = find(one, name, "predict")
        assert isinstance(missing, errors.UnknownModel)
        assert missing.detail == "No model has this name: see /available_models."


DOUBLE_WIDE = make_entry(inputs=[("x", "float32", (3,))], outputs=[("y", "float32", (3,))], direct_max_rows=4)


def test_replaced_model_answers_what_it_began_and_nothing_more() -> None:
    held = Held()
    served = Served(held)

    async def main() -> None:
        first = asyncio.create_task(served.ask([[1.0, 2.0]]))
        while not held.gates:
            await asyncio.sleep(0)
        before = served.service.bindings.find("m", "predict")
        served.registry.replace([DOUBLE_WIDE.model_copy(update={"direct": "m_direct~t"})])
        assert served.service.bindings.leaving()
        # A request that was routed before, and whose body came after.
        assert before is not None
        second = asyncio.create_task(
            served.service.predict(before, b'{"features": [[1.0, 2.0, 3.0]]}', None, served.timings)
        )
        while len(held.gates) < 2:
            await asyncio.sleep(0)
        assert [call.model for call in served.backend.calls] == ["m_direct", "m_direct~t"]
        for gate in held.gates:
            gate.set()
        assert (await first)["predictions"] == [[2.0, 4.0]]
        assert json.loads(await second)["predictions"] == [[2.0, 4.0, 6.0]]
        assert not served.service.bindings.leaving()

    served.service = served.make_service()
    asyncio.run(main())


def test_removed_model_is_unknown_to_a_request_whose_body_came_after() -> None:
    served = Served()

    async def main() -> None:
        before = served.service.bindings.find("m", "predict")
        assert before is not None
        served.registry.replace([], ["m"])
        assert served.service.bindings.find("m", "predict") is None
        with pytest.raises(errors.UnknownModel):
            await served.service.predict(before, b'{"features": [[1.0, 2.0]]}', None, served.timings)

    served.service = served.make_service()
    asyncio.run(main())


def test_death_of_a_replaced_models_process_is_not_the_new_ones() -> None:
    async def dies(*_: object) -> None:
        served.registry.replace([WIDE.model_copy(update={"direct": "m_direct~t"})])
        raise errors.ModelProcessDead("gone")

    served = Served(dies)  # type: ignore[arg-type]  # it never answers
    with pytest.raises(errors.ModelProcessDead):
        served.answer([[1.0, 2.0]])
    assert served.registry.models["m"].ready
    assert not served.registry.models["m"].dead


def test_deadlines_that_passed_while_our_own_loop_stood_still_open_no_breaker() -> None:
    """Of 30 requests, each a fault of the model's otherwise."""

    async def fail(model: str, arrays: Arrays, promised: Sequence[Tensor]) -> Arrays:
        # A call takes a moment, in which the others are admitted.
        await asyncio.sleep(0)
        raise errors.DeadlineExceeded(errors.DEADLINE)

    async def all_of(served: Served) -> None:
        asked = [served.ask([[1, 2]]) for _ in range(30)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {errors.DeadlineExceeded}

    for slept, state in ((True, "closed"), (False, "open")):
        served = Served(fail, limit=100)
        served.slept = slept
        served.service = served.make_service()
        asyncio.run(all_of(served))
        assert served.breakers[served.entry.name].model.state == state
