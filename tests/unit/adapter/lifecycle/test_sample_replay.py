"""After each load a model answers its sample as the original did, or it is not served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapter import errors
from adapter.backend.error_mapping import translate
from adapter.backend.protocol import Arrays
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.backend import FakeBackend, Handler
from tests.support.fakes.entries import make_entry
from tests.support.lifecycle.reconcilers import make_smoke_test

ROWS = [[float(i), 1.0] for i in range(5)]
DOUBLED = [[2 * value for value in row] for row in ROWS]


def times(factor: float) -> Handler:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": (arrays["x"] * factor).astype(np.float32)}

    return handler


def entry_of(tmp_path: Path, sample: Any, direct_max_rows: int = 8, **spec: Any) -> ModelEntry:
    """A model of two numbers, whose sample is in the repository."""
    folder = tmp_path / "m_direct" / "1" / "source"
    folder.mkdir(parents=True)
    (folder / "sample.json").write_text(json.dumps(sample))
    entry = make_entry("m", [("x", "float32", (2,))], [("y", "float32", (2,))], direct_max_rows, **spec)
    return entry.model_copy(update={"sample": "source/sample.json"})


async def note_of(tmp_path: Path, entry: ModelEntry, handler: Handler) -> tuple[str | None, list[tuple[str, int]]]:
    """What is said of a model that was loaded, and the calls that were made: the model and the rows of each."""
    backend = FakeBackend(handler)
    note = await make_smoke_test(backend, 15, tmp_path).check_model(entry)
    return note, [(call.model, len(call.arrays["x"])) for call in backend.calls]


async def test_all_rows_are_asked_and_the_first_through_the_front_too(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, {"features": ROWS, "predictions": DOUBLED}, direct_max_rows=2)
    note, calls = await note_of(tmp_path, entry, times(2))
    assert (note, calls) == (None, [("m_direct", 2), ("m_direct", 2), ("m_direct", 1), ("m", 1)])


async def test_another_answer_fails_the_model_with_the_row(tmp_path: Path) -> None:
    wrong = [*DOUBLED[:3], [6.5, 2.0], [8.5, 2.0]]
    entry = entry_of(tmp_path, {"features": ROWS, "predictions": wrong})
    with pytest.raises(errors.SmokeTestFailed) as failed:
        await note_of(tmp_path, entry, times(2))
    assert str(failed.value) == (
        "its answers are not those of its sample.json: row 3, [0]: served 6.0, and the original's answer is 6.5 "
        "(2 rows differ)"
    )


async def test_a_front_that_answers_otherwise_fails_it_too(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, {"features": ROWS, "predictions": DOUBLED})

    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return await times(2 if model == "m_direct" else 3)(model, arrays, outputs)

    with pytest.raises(errors.SmokeTestFailed, match=r"row 0, \[1\]: served 3.0, and the original's answer is 2.0"):
        await note_of(tmp_path, entry, handler)


async def test_a_config_says_how_far_answers_may_be_off_or_that_nothing_is_asked(tmp_path: Path) -> None:
    sample = {"features": ROWS, "predictions": ROWS}
    assert (await note_of(tmp_path, entry_of(tmp_path / "a", sample, verify=False), times(2)))[1] == []
    entry = entry_of(tmp_path, sample, verify={"rtol": 1.0, "atol": 0.1})
    assert (await note_of(tmp_path, entry, times(2)))[0] is None


async def test_no_made_up_row_is_asked_of_a_model_with_a_sample(tmp_path: Path) -> None:
    """It may well raise on one: its categories are known to the sample alone."""
    entry = entry_of(tmp_path, {"features": ROWS, "predictions": DOUBLED}, warmup=True)
    assert await note_of(tmp_path, entry, times(2)) == (None, [("m_direct", 5), ("m", 1)])
    without = entry.model_copy(update={"spec": entry.spec.model_copy(update={"verify": False})})
    assert (await note_of(tmp_path, without, times(2)))[1] == [("m_direct", 2), ("m", 1)]


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (
            {"features": [[1.0]], "predictions": [[1.0]]},
            "sample.json does not fit the model's config: features[0] has",
        ),
        ({"features": ROWS, "predictions": {"z": DOUBLED}}, "predictions: it has no rows of the output y"),
        ({"features": ROWS, "predictions": DOUBLED[:4]}, "row 4: served 5 rows, and the original's answer is 4 rows"),
        ({"features": ROWS}, "sample.json cannot be read: build it again"),
    ],
)
async def test_a_sample_that_does_not_fit_fails_the_model(tmp_path: Path, sample: Any, reason: str) -> None:
    with pytest.raises(errors.SmokeTestFailed) as failed:
        await note_of(tmp_path, entry_of(tmp_path, sample), times(2))
    assert reason in str(failed.value)


async def test_a_model_that_raises_on_its_sample_has_failed(tmp_path: Path) -> None:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise translate(None, "[schwift:model_error] KeyError: 'city'")

    entry = entry_of(tmp_path, {"features": ROWS, "predictions": DOUBLED}, direct_max_rows=3)
    with pytest.raises(errors.SmokeTestFailed) as failed:
        await note_of(tmp_path, entry, handler)
    assert str(failed.value) == "the model does not answer rows 0 to 2 of its sample.json: it raised KeyError"
