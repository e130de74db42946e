"""Processes that are called dead and go on: whose answers are believed, and what becomes of calls without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.lifecycle.served_model import Model
from adapter.workers import counters
from converter.schema.manifest import Tensor
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.http.predictors import Served
from tests.support.lifecycle.lifecycle_desk import double
from tests.support.lifecycle.served_models import make_model, make_registry


def told_dead(there: bool) -> Model:
    """A model one of whose processes was called dead, and was there or not."""
    model = make_model(whole=lambda _: there)
    model.report_dead(model.incarnation, "a test")
    return model


@pytest.mark.parametrize("there", [True, False])
def test_a_death_is_that_of_a_process_that_was_there_or_not(there: bool) -> None:
    model = told_dead(there)
    assert (model.dead, model.is_tainted(model.incarnation)) == (True, there)
    # A load mends it, but for those that asked before.
    model.begin_incarnation(model.incarnation + 1)
    assert (model.dead, model.is_tainted(model.incarnation), model.is_tainted(model.incarnation - 1)) == (
        False, False, there,
    )  # fmt: skip


class Incident:
    """Two calls of one model: the first tells of a death, and the second has an answer after that, of some kind."""

    def __init__(self, there: bool, kind: str = "answer") -> None:
        self._kind = kind
        self._died, self._answers = asyncio.Event(), asyncio.Event()
        self.served = Served(self._handle, regime="idle", whole=lambda _: there)

    async def _handle(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        if arrays["x"][0, 0] == 1:
            await self._died.wait()
            raise errors.ModelProcessDead("no", "is not healthy")
        await self._answers.wait()
        if self._kind == "error":
            raise errors.ModelFailed("no", "ValueError")
        answer = await double(model, arrays, outputs)
        return {name: array[:0] for name, array in answer.items()} if self._kind == "no rows" else answer

    async def second(self, between: Callable[[Model], None] = lambda model: None) -> Any:
        """What the second one gets; `between` the death and its answer something happens to the model."""
        served = self.served
        served.service = served.make_service()
        tasks = [asyncio.create_task(served.ask([[number, 0]], "predict_batched")) for number in (1, 2)]
        await asyncio.sleep(0)
        self._died.set()
        with pytest.raises(errors.ModelProcessDead):
            await tasks[0]
        assert served.model.dead
        between(served.model)
        self._answers.set()
        try:
            return await tasks[1]
        finally:
            assert served.in_flight == 0


def mended(model: Model) -> None:
    """As the reconciler leaves it."""
    model.begin_incarnation(model.incarnation + 1)
    model.status.adopt("ready")


@pytest.mark.parametrize("kind", ["answer", "error", "no rows"])
def test_an_answer_after_a_death_is_not_believed_while_nobody_is_missing(kind: str) -> None:
    """Triton gives what a tainted process answers late to the next call."""
    incident = Incident(True, kind)
    with pytest.raises(errors.ModelProcessDead) as raised:
        asyncio.run(incident.second())
    assert (raised.value.detail, raised.value.inside) == (errors.UNAVAILABLE, "the answer may be another call's")


@pytest.mark.parametrize(
    ("kind", "error"), [("error", errors.ModelFailed), ("no rows", errors.BadModelOutput), ("answer", None)]
)
def test_an_answer_of_those_beside_a_process_that_is_gone_is_believed(
    kind: str, error: type[errors.AdapterError] | None
) -> None:
    incident = Incident(False, kind)
    if error is not None:
        with pytest.raises(error):
            asyncio.run(incident.second())
    else:
        assert asyncio.run(incident.second()) == {"model": "m", "predictions": [[4.0, 0.0]]}


@pytest.mark.parametrize("there", [True, False])
def test_an_answer_that_comes_when_its_model_was_loaded_again(there: bool) -> None:
    """From a process that was unloaded with calls in it; which of those answered is not known any more."""
    incident = Incident(there)
    if there:
        with pytest.raises(errors.ModelProcessDead):
            asyncio.run(incident.second(mended))
    else:
        assert asyncio.run(incident.second(mended)) == {"model": "m", "predictions": [[4.0, 0.0]]}


def test_what_a_worker_asks_that_has_not_heard_of_the_death_is_not_believed_either() -> None:
    """The model is ready for it until the leading worker's news come."""
    table = counters.make_table(["m"], 2)
    registries = [make_registry(make_manifest(make_entry("m")), table, worker) for worker in range(2)]
    here, there = (registry.models["m"] for registry in registries)
    here.status.adopt("ready")
    there.status.adopt("ready")
    here.report_dead(here.incarnation, "a test")
    assert (there.ready, there.is_tainted(there.incarnation)) == (True, True)
    # What the leading worker said before its end leaves it so.
    registries[1].follow(registries[0].as_text())
    assert there.is_tainted(there.incarnation)
    registries[0].begin_incarnation(here)
    registries[1].follow(registries[0].as_text())
    assert not there.is_tainted(there.incarnation)


def test_a_death_that_is_told_when_its_call_was_given_up_counts_where_it_is_of_the_process_that_serves() -> None:
    served = Served()
    model = served.model
    before = time.monotonic()
    served.registry.begin_incarnation(model)
    since = time.monotonic()
    for name, began in (("other_direct", since), ("m_direct", before - 0.01)):
        served.backend.tell_of_death(name, began)
    assert (model.dead, model.ready) == (False, True)
    served.backend.tell_of_death("m", since)
    assert (model.dead, model.ready) == (True, False)


def test_calls_in_flight_are_given_up_in_each_worker_before_the_model_is_ready_again() -> None:
    served = Served()
    served.make_service()
    leading, model = make_registry(make_manifest(served.entry)), served.model
    states: list[str] = []
    served.registry.watch_abandoned(lambda entry: states.append(model.status.state))
    leading.models["m"].status.adopt("recovering")
    model.status.adopt("recovering")
    leading.abandon_calls(leading.models["m"])
    leading.models["m"].status.adopt("ready")
    for _ in range(2):
        served.registry.follow(leading.as_text())
    assert states == ["recovering"]
    # By each of the two services here, and once.
    assert sorted(served.backend.abandoned) == ["m", "m", "m_direct", "m_direct"]
    assert model.ready
