"""What the original answers: rows of samples in every form, rows at edges, and what a model refuses or draws."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from converter.authoring.object_probe import edge_rows
from converter.authoring.original import Original, ask_originals, split_rows
from converter.errors import ConfigError
from converter.inspect.discover import discover
from converter.inspect.inspector import inspect_all
from converter.inspect.model_environments import ModelEnvironments
from converter.schema.settings import Settings

COLUMNS = {"form": "columns", "columns": [{"name": "age"}, {"name": "city"}]}
PEOPLE = [[31, "Bern"], [40, None]]
MATRIX = {"form": "matrix", "width": 2, "dtype": "float64"}
ONE_TENSOR = {"form": "tensors", "tensors": [{"name": "x"}]}
TWO_TENSORS = {"form": "tensors", "tensors": [{"name": "x"}, {"name": "y"}]}
CODE = """\
import random


class Picky:
    def predict(self, X):
        if (X < 0).any():
            raise ValueError("less than nothing")
        return X[:, 0] * 2


class Lots:
    def predict(self, X):
        return [random.random() for _ in X]


class Leaning:
    def predict(self, X):
        return X[:, 0] - X[:, 0].mean()


class Needy:
    def predict(self, X):
        import nowhere_to_be_found
"""


@pytest.mark.parametrize(
    ("form", "features", "rows"),
    [
        (COLUMNS, PEOPLE, PEOPLE),
        (COLUMNS, [31, "Bern"], PEOPLE[:1]),
        (COLUMNS, [{"city": "Bern", "age": 31}, {"age": 40, "city": None}], PEOPLE),
        (COLUMNS, {"city": ["Bern", None], "age": [31, 40]}, PEOPLE),
        (COLUMNS, {"city": [["Bern"], [None]], "age": [[31], [40]]}, PEOPLE),
        (COLUMNS, {"city": "Bern", "age": 31}, PEOPLE[:1]),
        ({"form": "text"}, ["a", "b"], ["a", "b"]),
        ({"form": "text"}, [["a"], ["b"]], ["a", "b"]),
        (MATRIX, [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (MATRIX, [1, 2], [[1, 2]]),
        (ONE_TENSOR, [[1, 2], [3, 4]], [[[1, 2]], [[3, 4]]]),
        (ONE_TENSOR, [1, 2], [[[1, 2]]]),
        (ONE_TENSOR, ["a", "b"], [[["a"]], [["b"]]]),
        (TWO_TENSORS, {"y": [[3], [4]], "x": [[1, 1], [2, 2]]}, [[[1, 1], [3]], [[2, 2], [4]]]),
    ],
)
def test_rows_of_a_sample_are_read_however_they_are_written(form: Any, features: Any, rows: Any) -> None:
    assert split_rows(form, features) == rows


@pytest.mark.parametrize(
    ("dtype", "edges"),
    [
        ("uint8", [0, 1, 255]),
        ("int32", [0, 1, -1, 2**31 - 1, -(2**31)]),
        ("int64", [0, 1, -1, 2**53 - 1, 1 - 2**53]),
        ("bool", [False, True]),
        ("float16", [0.0, 1.0, -1.0, 32752.0, 32752.0, -32752.0]),
    ],
)
def test_the_edges_of_a_dtype_are_within_it(dtype: str, edges: list[Any]) -> None:
    assert edge_rows.list_edges(dtype) == edges


def test_texts_of_tensors_are_at_edges_too() -> None:
    form = {"form": "tensors", "tensors": [{"dtype": "string"}, {"dtype": "bool"}]}
    rows = edge_rows.make(form, [], [[["word"], [[True]]]], 9, random.Random(0))
    assert rows[:3] == [[[""], [[False]]], [[" "], [[True]]], [["Zürich, 東京 🙂"], [[False]]]]


def write(models: Path, name: str, model: object, sample: Any = None, **spec: Any) -> None:
    """A model's folder: of a fitted object, or of a class of CODE."""
    folder = models / name
    folder.mkdir(parents=True)
    matrix = {"shape": [-1, 2], "dtype": "float64"}
    config: dict[str, Any] = {"name": name, "input": matrix, "output": {"shape": [-1, 1], "dtype": "float64"}, **spec}
    if isinstance(model, str):
        config |= {"backend": "python", "model_args": {"class": f"model:{model}"}}
        (folder / "model.py").write_text(CODE)
    else:
        config |= {"backend": "sklearn", "model_args": {"model_file": "m.joblib"}}
        joblib.dump(model, folder / "m.joblib")
    (folder / "model_config.yaml").write_text(json.dumps({"model": config}))
    if sample is not None:
        (folder / "sample.json").write_text(json.dumps({"features": sample, "predictions": [[0.0]] * len(sample)}))


def ask(models: Path, meanwhile: Callable[[], object] = list) -> dict[str, Original]:
    environments = ModelEnvironments(Settings(MODEL_DIRECTORY=models), print)
    sources = environments.prepare(discover(models).sources)
    scratch = models.parent / "scratch"
    scratch.mkdir()
    facts = inspect_all(sources, scratch, 1, environments)
    meanwhile()
    return ask_originals(sources, facts, scratch)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Original]:
    models = tmp_path_factory.mktemp("originals") / "models"
    X = np.array([[0.0, 1.0], [1.0, 5.0], [2.0, 3.0], [3.0, 4.0]])
    write(models, "line", LinearRegression().fit(X, [1.0, 2.0, 3.0, 4.0]), sample=X.tolist())
    write(models, "tree", DecisionTreeRegressor().fit(X[:, ::-1], [1.0, 2.0, 3.0, 4.0]))
    frame = pd.DataFrame({"b": X[:, 0], "a": X[:, 1]})
    columns = [{"name": "a", "dtype": "float64"}, {"name": "b", "dtype": "float64"}]
    write(
        models, "named", LinearRegression().fit(frame, X[:, 1] * 10), sample=X[:, ::-1].tolist(),
        input={"columns": columns},
    )  # fmt: skip
    for name in ("Picky", "Lots", "Leaning", "Needy"):
        write(models, name.lower(), name)
    return ask(models)


def test_the_rows_of_a_sample_come_first(originals: dict[str, Original]) -> None:
    line = originals["line"]
    assert line.of_sample == 4
    assert line.rows[:4] == ([0.0, 1.0], [1.0, 5.0], [2.0, 3.0], [3.0, 4.0])
    assert [answer[0][0] for answer in line.answers[:4] if answer] == pytest.approx([1, 2, 3, 4])
    assert [0.0, 0.0] in line.rows and [-1.0, -1.0] in line.rows
    assert line.asked.startswith("LinearRegression.predict (numpy ")


def test_columns_reach_the_original_as_it_was_fitted(originals: dict[str, Original]) -> None:
    # The config has them in another order than the fit.
    named = originals["named"]
    assert named.rows[1] == [5.0, 1.0]
    answers = [answer[0][0] for answer in named.answers[:4] if answer]
    assert answers == pytest.approx([10, 50, 30, 40])


def test_thresholds_and_their_neighbours_are_among_the_rows(originals: dict[str, Original]) -> None:
    values = {value for row in originals["tree"].rows for value in row}
    assert {1.5, math.nextafter(1.5, 2), math.nextafter(1.5, 1)} & values
    assert originals["tree"].of_sample == 0


def test_a_row_that_the_original_refuses_is_told(originals: dict[str, Original]) -> None:
    picky = originals["picky"]
    refused = [number for number, answer in enumerate(picky.answers) if answer is None]
    assert refused and picky.refused is not None
    assert {picky.refused[number] for number in refused} == {"ValueError: less than nothing"}
    assert all(min(picky.rows[number]) < 0 for number in refused)


def test_a_model_that_draws_lots_and_one_that_looks_across_rows_are_told(originals: dict[str, Original]) -> None:
    assert originals["lots"].again[0] == 0
    assert originals["leaning"].again == ()
    assert 0 in originals["leaning"].batch
    assert originals["line"].again == originals["line"].batch == ()


def test_a_library_that_is_missing_is_no_refusal(originals: dict[str, Original]) -> None:
    assert originals["needy"].problem == (
        "the model needs nowhere_to_be_found, which is not installed where models run"
    )


def test_a_sample_of_other_columns_is_an_error_with_its_place(tmp_path: Path) -> None:
    models = tmp_path / "models"
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    columns = {"columns": [{"name": "a", "dtype": "float64"}]}
    write(models, "m", LinearRegression().fit(frame, [1, 2]), sample=[{"b": 1.0}], input=columns)
    with pytest.raises(ConfigError, match=r"models/m/sample\.json: features: these are no rows as the config has them"):
        ask(models)


def test_a_file_that_changed_since_it_was_looked_into_is_not_loaded(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write(models, "m", LinearRegression().fit([[1.0, 2.0]], [1.0]))

    def swap() -> None:
        (models / "m" / "m.joblib").write_bytes(b"cos\nsystem\n(S'touch " + bytes(tmp_path / "ran") + b"'\ntR.")

    with pytest.raises(ConfigError, match=r"models/m/model_config\.yaml: m\.joblib changed while it was looked into"):
        ask(models, swap)
    assert not (tmp_path / "ran").exists()
