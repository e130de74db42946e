"""The models of the benchmarks: small ones of each kind, trained here in a second, and one that takes a known time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import onnxruntime
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from tests.bench.rig import sleeping

LOGREG, FOREST, MLP, SLEEP, SLOW = "logreg", "forest_100", "onnx_mlp", "sleep_5", "sleep_80"
# For overloads.
HEAVY = "forest_400"
# Those whose front ends are compared; the slow one is for the regimes.
NAMES = (LOGREG, FOREST, MLP, SLEEP)
_CONFIG = """\
model:
  name: {name}
  backend: {backend}
  model_args: {{model_file: {file}}}
  input: {{type: array, shape: [-1, 4], dtype: float32}}
  output: {{type: array, shape: [-1, 3], dtype: {dtype}}}
  preferred_batch_size: {preferred}
  max_batch_delay_ms: 10
  rush_batch_size: {most_rows}
"""


# As the graph names it; elsewhere it is `features`.
INPUTS = {MLP: "X"}

Function = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass(frozen=True)
class BenchModel:
    """A model in a benchmark. `load` gives its function of (rows, 4) float32, as the server's runtime calls it."""

    name: str
    load: Callable[[], Function]


def write(models: Path) -> list[BenchModel]:
    """Train and write all of them into `models`."""
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    _write_joblib(models, LOGREG, LogisticRegression(max_iter=1000).fit(X, y))
    _write_joblib(models, FOREST, RandomForestClassifier(100, random_state=0).fit(X, y))
    _write_onnx(models, MLP, MLPClassifier((64, 64), max_iter=400, random_state=0).fit(X, y))
    sleeping.write(models, 5)
    sleeping.write(models, 80)
    return known(models)


def write_heavy(models: Path, most_rows: int) -> str:
    """Write a forest that keeps a core busy for long, with calls of at most so many rows; its name."""
    X, y = load_iris(return_X_y=True)
    _write_joblib(models, HEAVY, RandomForestClassifier(400, random_state=0).fit(X.astype(np.float32), y), most_rows)
    return HEAVY


def known(models: Path) -> list[BenchModel]:
    """Those that `write` wrote."""
    return [
        BenchModel(LOGREG, lambda: _load_joblib(models / LOGREG)),
        BenchModel(FOREST, lambda: _load_joblib(models / FOREST)),
        BenchModel(MLP, lambda: _load_onnx(models / MLP)),
        BenchModel(SLEEP, lambda: _sleep(0.005)),
        BenchModel(SLOW, lambda: _sleep(0.080)),
    ]


def row() -> list[float]:
    return [5.1, 3.5, 1.4, 0.2]


def triton_request(model: str) -> dict[str, object]:
    """One row, as the body of Triton's own HTTP inference request."""
    name = INPUTS.get(model, "features")
    return {"inputs": [{"name": name, "shape": [1, 4], "datatype": "FP32", "data": row()}]}


def _write_joblib(models: Path, name: str, model: Any, most_rows: int = 512) -> None:
    joblib.dump(model, _folder(models, name, "sklearn", "model.joblib", "float64", most_rows) / "model.joblib")


def _write_onnx(models: Path, name: str, model: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_onnx(model, np.zeros((1, 4), np.float32), options={"zipmap": False})
    (_folder(models, name, "onnx", "model.onnx", "float32") / "model.onnx").write_bytes(graph.SerializeToString())


def _load_joblib(folder: Path) -> Function:
    model = joblib.load(folder / "model.joblib")
    return lambda array: np.asarray(model.predict_proba(array))


def _load_onnx(folder: Path) -> Function:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    given, wanted = session.get_inputs()[0].name, session.get_outputs()[1].name
    return lambda array: np.asarray(session.run([wanted], {given: array})[0])


def _folder(models: Path, name: str, backend: str, file: str, dtype: str, most_rows: int = 512) -> Path:
    folder = models / name
    folder.mkdir(parents=True)
    config = _CONFIG.format(
        name=name,
        backend=backend,
        file=file,
        dtype=dtype,
        preferred=sleeping.preferred(most_rows),
        most_rows=most_rows,
    )
    (folder / "model_config.yaml").write_text(config, encoding="utf-8")
    return folder


def _sleep(seconds: float) -> Function:
    def function(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        time.sleep(seconds)
        return array

    return function
