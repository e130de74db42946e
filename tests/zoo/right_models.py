"""Small models that are right: each with its folder's files, rows, and its own answers to them."""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Array = npt.NDArray[Any]

FLOWERS, KINDS = load_iris(return_X_y=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"])[KINDS]
# Two classes of houses, and what they cost.
HOUSES = pd.DataFrame({"area": [40.0, 65, 80, 120, 150, 210] * 8, "rooms": [1.0, 2, 3, 4, 5, 7] * 8})
HOUSES["year"] = np.linspace(1900, 2020, len(HOUSES))
PRICES = HOUSES["area"] * 3000 + HOUSES["rooms"] * 10 + (HOUSES["year"] - 1900) * 50
PEOPLE = pd.DataFrame({"age": [20.0, 35, 50, 70] * 10, "city": ["Bern", "Lima", "Rome", "Oslo"] * 10})
PEOPLE["income"] = np.linspace(10_000, 90_000, len(PEOPLE))
# Seconds since 1970; the answers are seconds since the first.
TIMES: Array = np.arange(1_700_000_000, 1_700_000_640, 10, dtype=np.float64).reshape(-1, 1)
TEXTS = ["good film", "bad film", "a good book", "a bad book"] * 5

_CODE = """\
import numpy as np


class Scorer:
    def __init__(self, factor):
        self.factor = factor

    def predict(self, X):
        return np.asarray(X).sum(axis=1, keepdims=True) * self.factor
"""


@dataclass(frozen=True)
class RightModel:
    """`config` has NAME where the model's name stands; `features` and `answers` are as a client sends and gets them.

    `classes` are the keys of an answer that a client asks for by its classes.
    """

    config: str
    files: Mapping[str, bytes]
    features: Any
    answers: Any
    classes: tuple[str, ...] = ()


def write_config(backend: str, args: str, taken: str, given: str) -> str:
    """Write a config as users do: `taken` and `given` are what stands behind `input` and `output`."""
    return f"""\
model:
  name: NAME
  version: "1.0.0"
  backend: {backend}
  model_args:
    {args}
  input: {taken}
  output: {given}
  preferred_batch_size: [16, 32]
  max_batch_delay_ms: 10
"""


def array(width: int, dtype: str = "float64") -> str:
    return f"{{type: array, shape: [-1, {width}], dtype: {dtype}}}"


def pickled(model: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


def fitted_flowers() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(FLOWERS, SPECIES)


def fitted_forest(X: Array = FLOWERS) -> Any:
    return RandomForestClassifier(5, max_depth=4, random_state=0).fit(X, KINDS)


def fitted_houses() -> Any:
    return GradientBoostingRegressor(n_estimators=20, random_state=0).fit(HOUSES, PRICES)


def _sklearn(model: Any, taken: str, given: str, features: Any, answers: Array) -> RightModel:
    rows = answers.reshape(len(answers), -1).tolist()
    config = write_config("sklearn", "model_file: model.joblib", taken, given)
    return RightModel(config, {"model.joblib": pickled(model)}, features, rows)


def _flowers() -> RightModel:
    model, rows = fitted_flowers(), FLOWERS[::19]
    right = _sklearn(model, array(4), array(3), rows.tolist(), model.predict_proba(rows))
    classes = "  classes: [setosa, versicolor, virginica]\n"
    return replace(right, config=right.config + classes, classes=("setosa", "versicolor", "virginica"))


def _forest() -> RightModel:
    model, rows = fitted_forest(), FLOWERS[::19]
    return _sklearn(model, array(4, "float32"), array(1, "int64"), rows.tolist(), model.predict(rows))


def _chances() -> RightModel:
    model, rows = fitted_forest(), FLOWERS[::19]
    return _sklearn(model, array(4), array(3), rows.tolist(), model.predict_proba(rows))


def _species() -> RightModel:
    model, rows = fitted_flowers(), FLOWERS[::19]
    return _sklearn(model, array(4), array(1, "string"), rows.tolist(), model.predict(rows))


def _sums() -> RightModel:
    model = LinearRegression().fit(FLOWERS, np.stack([FLOWERS.sum(axis=1), FLOWERS[:, 0] * 2], axis=1))
    return _sklearn(model, array(4), array(2), FLOWERS[::19].tolist(), model.predict(FLOWERS[::19]))


def _houses() -> RightModel:
    model, rows = fitted_houses(), HOUSES[::6]
    columns = "\n    columns:\n" + "".join(f"      - {{name: {name}, dtype: float64}}\n" for name in HOUSES)
    return _sklearn(model, columns.rstrip(), array(1), rows.to_dict("records"), model.predict(rows))


def _people() -> RightModel:
    steps = make_column_transformer(
        (StandardScaler(), ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])
    )
    model, rows = make_pipeline(steps, LogisticRegression()).fit(PEOPLE, [0, 0, 1, 1] * 10), PEOPLE[::5]
    dtypes = {"age": "float64", "city": "string", "income": "float64"}
    columns = "\n    columns:\n" + "".join(f"      - {{name: {name}, dtype: {dtypes[name]}}}\n" for name in PEOPLE)
    return _sklearn(model, columns.rstrip(), array(2), rows.to_dict("records"), model.predict_proba(rows))


def _times() -> RightModel:
    model, rows = make_pipeline(StandardScaler(), LinearRegression()).fit(TIMES, TIMES[:, 0] - TIMES[0, 0]), TIMES[::8]
    return _sklearn(model, array(1), array(1), rows.tolist(), model.predict(rows))


def _moments() -> RightModel:
    model, rows = LinearRegression().fit(FLOWERS, TIMES[0, 0] + FLOWERS[:, 0] * 10), FLOWERS[::19]
    return _sklearn(model, array(4), array(1), rows.tolist(), model.predict(rows))


def _members() -> RightModel:
    table = pd.DataFrame({"member": [True, False] * 10})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(table, [0, 1] * 10)
    taken = "\n    columns:\n      - {name: member, dtype: bool}"
    return _sklearn(model, taken, array(2), table[:2].to_dict("records"), model.predict_proba(table[:2]))


def _moods() -> RightModel:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0] * 10)
    rows = ["good", "a bad film", "book"]
    return _sklearn(model, "{type: array, shape: [-1], dtype: string}", array(2), rows, model.predict_proba(rows))


def _graph() -> RightModel:
    import skl2onnx

    model, rows = LogisticRegression(max_iter=500).fit(FLOWERS, KINDS), FLOWERS[::19]
    graph = skl2onnx.to_onnx(model, FLOWERS[:1].astype(np.float32), options={"zipmap": False})
    config = write_config("onnx", "model_file: model.onnx", array(4, "float32"), array(3, "float32"))
    files = {"model.onnx": graph.SerializeToString()}
    return RightModel(config, files, rows.tolist(), model.predict_proba(rows).tolist(), ("0", "1", "2"))


def _network() -> RightModel:
    import torch

    class Network(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
        def forward(self, left: Any, right: Any) -> Any:
            return left.sum(1, keepdim=True) - 2 * right.sum(1, keepdim=True)

    traced = torch.jit.trace(Network(), (torch.ones(2, 2), torch.ones(2, 2)))
    left, right = [[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.5], [1.0, 0.0]]
    tensors = "".join(f"\n    - {{name: {name}, shape: [-1, 2], dtype: float32}}" for name in ("left", "right"))
    config = write_config("torch", "model_file: model.pt", tensors, array(1, "float32"))
    with tempfile.TemporaryDirectory() as folder:
        traced.save(str(Path(folder, "model.pt")))
        files = {"model.pt": Path(folder, "model.pt").read_bytes()}
    return RightModel(config, files, {"left": left, "right": right}, [[1.0], [5.0]])


def _scorer() -> RightModel:
    args = 'class: "model:Scorer"\n    kwargs: {factor: 2.0}'
    config = write_config("python", args, array(3), array(1))
    return RightModel(config, {"model.py": _CODE.encode()}, [[1.0, 2.0, 3.0], [0.5, 0.0, 0.0]], [[12.0], [1.0]])


_MAKERS: dict[str, Callable[[], RightModel]] = {
    "flowers": _flowers, "forest": _forest, "chances": _chances, "species": _species, "sums": _sums,
    "houses": _houses, "people": _people, "times": _times, "moments": _moments, "members": _members, "moods": _moods,
    "graph": _graph, "network": _network, "scorer": _scorer,
}  # fmt: skip
RIGHT_MODELS = tuple(_MAKERS)


@functools.cache
def right_model(name: str) -> RightModel:
    """Make one of the right models, once."""
    return _MAKERS[name]()
