"""A model is ready once it has answered a made-up row, or nothing says that it should have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import numpy as np
import pytest

from adapter import errors
from adapter.backend.error_mapping import translate
from adapter.backend.protocol import Arrays
from adapter.lifecycle.model_state import ModelState
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend, Handler, zeros
from tests.support.fakes.entries import make_columns_entry, make_entry, make_manifest
from tests.support.lifecycle.reconcilers import make_reconciler, make_smoke_test
from tests.support.lifecycle.reconciling import pass_of
from tests.support.lifecycle.served_models import make_registry

UNFIT = translate(None, "[schwift:model_unfit] AttributeError: 'Tree' object has no attribute 'x'\nAt: /y")


def raising(error: Exception, *of: str) -> Handler:
    """The default answer, but for these Triton models."""

    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        if model in of:
            raise error
        return await zeros(model, arrays, outputs)

    return handler


def loaded(backend: FakeBackend, passes: int = 1, warmup: bool = True) -> ModelState:
    """The state of the one model `m` after these passes of the reconciler."""
    registry = make_registry(make_manifest(make_entry("m", warmup=warmup)))
    reconciler = make_reconciler(registry, backend)

    async def main() -> None:
        for _ in range(passes):
            await pass_of(reconciler)

    asyncio.run(main())
    return registry.models["m"].status


def test_both_triton_models_are_asked_before_the_model_is_ready() -> None:
    backend = FakeBackend()
    status = loaded(backend, passes=3)
    assert (status.state, status.reason) == ("ready", None)
    assert [(call.model, call.arrays["x"].shape) for call in backend.calls] == [("m_direct", (2, 4)), ("m", (1, 4))]


def test_without_warmup_nothing_is_asked() -> None:
    backend = FakeBackend(raising(UNFIT, "m", "m_direct"))
    assert (loaded(backend, warmup=False).state, backend.calls) == ("ready", [])


@pytest.mark.parametrize("part", ["m", "m_direct"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UNFIT, "the model cannot answer: AttributeError: 'Tree' object has no attribute 'x'"),
        (
            errors.BadModelOutput("no", "[schwift:bad_model_output] output y is float64"),
            "the model's answer is not what its config promises: output y is float64",
        ),
    ],
)
def test_a_model_that_cannot_answer_has_failed_and_is_unloaded(part: str, error: Exception, reason: str) -> None:
    backend = FakeBackend(raising(error, part))
    status = loaded(backend, passes=3)
    assert (status.state, status.reason) == ("failed", reason)
    assert (backend.loads, backend.unloads, backend.loaded) == (["m_direct", "m"], ["m", "m_direct"], {})


def test_an_answer_of_another_shape_has_failed_too() -> None:
    async def short(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": np.zeros((1, 2), np.float32)}

    status = loaded(FakeBackend(short))
    assert status.state == "failed"
    assert status.reason is not None and status.reason.startswith(
        "the model's answer is not what its config promises: "
    )


def test_another_error_leaves_it_ready_with_a_note_that_stays(caplog: pytest.LogCaptureFixture) -> None:
    error = errors.ModelFailed("raised", "[schwift:model_error] ValueError: zero is no age")
    with caplog.at_level(logging.WARNING, "schwift.adapter"):
        status = loaded(FakeBackend(raising(error, "m_direct")), passes=3)
    note = "it raised ValueError on a made-up row, and nothing says that it should not"
    assert (status.state, status.reason) == ("ready", note)
    assert "zero is no age" in caplog.text


def test_one_that_is_slow_at_first_is_ready_with_a_note() -> None:
    status = loaded(FakeBackend(raising(errors.DeadlineExceeded("late"), "m_direct")))
    assert (status.state, status.reason) == ("ready", "it did not answer a made-up row, or its sample, in time")


def test_one_that_could_not_be_asked_is_loaded_again() -> None:
    backend = FakeBackend(raising(errors.UpstreamDown("gone"), "m"))
    status = loaded(backend)
    assert (status.state, status.reason) == ("unavailable", "gone")
    backend.handler = zeros
    backend.restart()
    status = loaded(backend)
    assert (status.state, status.reason) == ("ready", None)


def test_one_whose_process_dies_of_it_is_loaded_again_as_any_that_dies() -> None:
    backend = FakeBackend(raising(errors.ModelProcessDead("gone"), "m_direct"))
    status = loaded(backend)
    assert (status.state, backend.loads) == ("unavailable", ["m_direct", "m"])
    assert status.reason == "a process of the model died on a made-up row; it is loaded again"
    again = FakeBackend(raising(errors.ModelProcessDead("gone"), "m_direct"))
    status = loaded(again, passes=2)
    assert again.loads == ["m_direct", "m"] * 2
    assert again.unloads == ["m", "m_direct"]


@pytest.mark.parametrize(("name", "compared"), [("age", True), ("years", False)])
async def test_a_version_with_other_columns_is_not_compared_with_the_served_one(name: str, compared: bool) -> None:
    """The tensors of both are the same; what stands in them is not."""

    served = make_columns_entry([{"name": "age", "dtype": "float64"}], warmup=True)
    new = make_columns_entry([{"name": name, "dtype": "float64"}], warmup=True).on_trial("~t")
    assert served.inputs == new.inputs
    raised = translate(None, "[schwift:model_error] KeyError: 'x'\nAt: /y")
    smoke_test = make_smoke_test(FakeBackend(raising(raised, "m_direct~t")), 5)
    if compared:
        with pytest.raises(errors.SmokeTestFailed, match="raises an error on a row that the served one answers"):
            await smoke_test.check_version(new, served)
    else:
        assert "KeyError" in (await smoke_test.check_version(new, served) or "")
