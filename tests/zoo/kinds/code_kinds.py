"""Models that are code: classes, functions, numba, transformers of one's own, and pickles with code in them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import dill
import joblib
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from .samples_of_people import CHURN, NUMBERS, PEOPLE, TEXTS, R, X, Y
from .specimen import Specimen, write_rows, written

_CLASS = """
class Tariff:
    def __init__(self, rates, base=1.5):
        self.rates = rates
        self.base = base

    def predict(self, X):
        return [self.base + sum(rate * value for rate, value in zip(self.rates, row)) for row in X]
"""
_FUNCTION = """
import numpy as np


def score(X):
    return 1 / (1 + np.exp(-X.mean(axis=1)))
"""
_NUMBA = """
import numba
import numpy as np


@numba.njit
def distances(X, center):
    found = np.zeros(len(X))
    for i in range(len(X)):
        for j in range(X.shape[1]):
            found[i] += (X[i, j] - center) ** 2
    return np.sqrt(found)


class Distance:
    def __init__(self, center=0.5):
        self.center = center

    def predict(self, X):
        return distances(np.ascontiguousarray(X, dtype=np.float64), self.center)
"""
_SHOUT = """
def shout(texts):
    return [[len(text), float(text.isupper())] for text in texts]
"""
_TRANSFORMER = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Clip(BaseEstimator, TransformerMixin):
    def __init__(self, most=1.0):
        self.most = most

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.clip(np.asarray(X, dtype=float), -self.most, self.most)
"""
_RATIOS = """
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import OneHotEncoder


class Ratios(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        self.cities_ = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X[["city"]])
        return self

    def transform(self, X):
        cities = pd.DataFrame(self.cities_.transform(X[["city"]]), index=X.index).add_prefix("city")
        return cities.assign(ratio=X["pay"] / X["age"])
"""


def _import_beside(folder: Path, name: str, text: str) -> Any:
    """Import a module that lies where the model will, under a name of its own."""
    (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def _write_clipped(folder: Path) -> list[str]:
    module = _import_beside(folder, "clipping", _TRANSFORMER)
    joblib.dump(make_pipeline(module.Clip(), LogisticRegression()).fit(X, Y), folder / "model.joblib")
    return [str(folder / "model.joblib")]


def _write_clipped_rows(folder: Path) -> list[str]:
    return [*_write_clipped(folder), *write_rows(folder, X)]


def _write_ratios(folder: Path) -> list[str]:
    module = _import_beside(folder, "ratios", _RATIOS)
    table = PEOPLE.drop(columns="member")
    joblib.dump(make_pipeline(module.Ratios(), LogisticRegression()).fit(table, CHURN), folder / "model.joblib")
    return [str(folder / "model.joblib"), *write_rows(folder, table)]


def _write_cloudy(folder: Path) -> list[str]:
    squared = FunctionTransformer(lambda table: table**2)
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(make_pipeline(squared, Ridge()).fit(NUMBERS, R)))
    return [str(folder / "model.pkl")]


def _write_dilled(folder: Path) -> list[str]:
    halved = FunctionTransformer(lambda table: table / 2)
    (folder / "model.dill").write_bytes(dill.dumps(make_pipeline(halved, LogisticRegression()).fit(X, Y), recurse=True))
    return [str(folder / "model.dill")]


def _write_nothing(folder: Path) -> list[str]:
    joblib.dump({"weights": X[0]}, folder / "model.joblib")
    return [str(folder / "model.joblib")]


def list_code_kinds() -> list[Specimen]:
    """List them."""
    kwargs = ("--kwargs", '{"rates": [1.0, 0.5, 2.0]}', "--input-shape", "3")
    return [
        Specimen(
            "tariff", "Python class with arguments", written({"tariff.py": _CLASS}, "./tariff.py:Tariff", *kwargs)
        ),
        Specimen(
            "function", "plain function", written({"scores.py": _FUNCTION}, "./scores.py:score", "--input-shape", "3")
        ),
        Specimen(
            "shout",
            "function of texts",
            written(
                {"shouting.py": _SHOUT, "rows.json": json.dumps([*TEXTS[:35], "", "ZÜRICH"])},
                "./shouting.py:shout",
                "--data",
                "./rows.json",
            ),
        ),
        Specimen(
            "numba", "numba class", written({"distance.py": _NUMBA}, "./distance.py:Distance", "--input-shape", "3")
        ),
        Specimen("clipped", "own transformer beside the file", _write_clipped),
        Specimen("clipped_rows", "the same with --data", _write_clipped_rows),
        Specimen("ratios", "own transformer of a DataFrame", _write_ratios),
        Specimen("cloudy", "cloudpickle with a lambda", _write_cloudy),
        Specimen("dilled", "dill with a lambda", _write_dilled),
        Specimen("weights", "a dict of weights", _write_nothing, served=False),
    ]
