"""The models that generated requests are for, and what each must answer: known exactly, from the body alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.e2e.sample_models import python_model
from tests.support.servers.server import ROOT

_DOUBLE = """
class Double:
    def predict(self, X):
        return X * 2
"""
_ECHO = """
class Echo:
    def predict(self, X):
        return X
"""


def write(models: Path) -> None:
    """One model of floats, one of integers, one of texts."""
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply", ignore=shutil.ignore_patterns("__pycache__"))
    python_model(models, "double", "model:Double", _DOUBLE, "[-1, 2]", "int64")
    python_model(models, "echo", "model:Echo", _ECHO, "[-1, 1]", "string")


def _multiply(rows: list[Any]) -> list[Any]:
    with np.errstate(over="ignore"):
        wanted: list[Any] = (np.array(rows, np.float32) * np.float32(2.5)).tolist()
    return wanted


def _double(rows: list[Any]) -> list[Any]:
    whole = [[int(value) for value in row] for row in rows]
    with np.errstate(over="ignore"):
        wanted: list[Any] = (np.array(whole, np.int64) * 2).tolist()
    return wanted


# The name, the values of a row, and what the model makes of rows.
ANSWERS: Mapping[str, tuple[int, Callable[[list[Any]], list[Any]]]] = {
    "multiply": (3, _multiply),
    "double": (2, _double),
    "echo": (1, lambda rows: rows),
}


def expected(model: str, body: bytes) -> list[Any]:
    """The predictions for a body that was accepted, read by another parser than the server's."""
    width, function = ANSWERS[model]
    features = json.loads(body)["features"]
    rows = features if isinstance(features[0], list) else [features]
    assert all(len(row) == width for row in rows), f"accepted: {body[:300]!r}"
    return function(rows)
