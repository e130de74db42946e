"""Models that can be packed, of each kind, and what a packed repository is built with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.models.sample_models import add_joblib, add_model, classifier_graph, model_yaml, options_of

# Models of known libraries' code alone go into one pack.
PACKED = options_of(pack="libraries")

TEXTS: dict[str, Any] = {
    "input": {"shape": [-1, 2], "dtype": "string", "nullable": True},
    "output": {"shape": [-1, 1], "dtype": "string"},
}
GRAPH: dict[str, Any] = {"input": {"shape": [-1, 3], "dtype": "float32"}, "output": {"shape": [-1], "dtype": "int64"}}
CLASS = b"class Model:\n    def predict(self, X):\n        return X\n"
_IRIS = Path(__file__).parents[3] / "models" / "iris_logreg" / "model.joblib"


def add_packable(models: Path) -> None:
    """Write models of each kind that can be packed: `numbers` and `texts` of joblib, and the ONNX `graph`.

    Their files are read by builds, and those of joblib hold no real model; `add_iris` does.
    """
    add_joblib(models, "numbers")
    add_joblib(models, "texts", **TEXTS)
    add_model(models, "graph", model_yaml("onnx", name="graph", **GRAPH), {"m.onnx": classifier_graph()})


def add_code(models: Path, name: str = "code", **keys: Any) -> None:
    """Write a model that brings code of its own, and is never packed."""
    add_model(models, name, model_yaml("python", name=name, **keys), {"model.py": CLASS})


def add_iris(models: Path, name: str, **keys: Any) -> Path:
    """Write a logistic regression that serves."""
    return add_model(models, name, model_yaml(name=name, **keys), {"m.joblib": _IRIS.read_bytes()})
