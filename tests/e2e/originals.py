"""Each example's model as its author has it, called without any of our code."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
import yaml

from tests.support.servers.server import ROOT

Array = npt.NDArray[Any]

IRIS = np.array(
    [[5.1, 3.5, 1.4, 0.2], [7.2, 3.2, 6.0, 1.8], [6.1, 2.8, 4.7, 1.2], [4.9, 2.5, 4.5, 1.7], [5.8, 2.7, 5.1, 1.9]]
)
ROWS: dict[str, Array] = {
    "iris_logreg": IRIS,
    "iris_forest": IRIS,
    "iris_onnx": IRIS,
    "torch_mlp": IRIS,
    "multiply": np.array([[1.0, 2.0, 3.0], [-4.5, 0.0, 1e6]]),
    "nearest_city": np.array([[48.1, 11.6], [-30.0, 140.0], [9.0, 7.5], [-10.0, -70.0], [36.0, 140.0]]),
}
EXAMPLES = sorted(ROWS)


def expected(name: str) -> list[list[Any]]:
    """What the original model answers to ROWS[name], as rows."""
    return _ask(name, ROWS[name])


def expected_alone(name: str) -> list[list[Any]]:
    """The same of each row by itself: in float32 the last digits may differ."""
    return [answer for row in ROWS[name] for answer in _ask(name, row[np.newaxis])]


def _ask(name: str, rows: Array) -> list[list[Any]]:
    answer = np.asarray(_predictor(ROOT / "models" / name)(rows))
    answers: list[list[Any]] = answer.reshape(len(rows), -1).tolist()
    return answers


def _predictor(folder: Path) -> Callable[[Array], Any]:
    config = yaml.safe_load((folder / "model_config.yaml").read_text(encoding="utf-8"))["model"]
    args = config["model_args"]
    if config["backend"] == "python":
        spec = importlib.util.spec_from_file_location(f"original_{folder.name}", folder / "model.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = getattr(module, args["class"].split(":")[1])(**args["kwargs"])
        return lambda rows: model.predict(rows.astype(config["input"]["dtype"]))
    path = folder / args["model_file"]
    if config["backend"] == "onnx":
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda rows: session.run(["probabilities"], {"features": rows.astype(np.float32)})[0]
    if config["backend"] == "torch":
        network: Any = torch.jit.load(str(path))
        return lambda rows: network(torch.tensor(rows, dtype=torch.float32)).detach().numpy()
    estimator: Any = joblib.load(path)
    method: Callable[[Array], Any] = estimator.predict if folder.name == "iris_forest" else estimator.predict_proba
    return method
