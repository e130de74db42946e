"""Models of each kind that the page tells apart: by columns, of texts, with classes, asleep, failed, hostile."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.support.models.sample_models import model_yaml
from tests.support.servers.server import ROOT

HOSTILE = "<img src=x onerror=\"document.title='taken'\"> & <script>document.title='taken'</script>"
CITIES = ("Bern", "Lima", "Oslo")
COLUMNS = [
    {"name": "age", "dtype": "int64"},
    {"name": "city", "dtype": "string"},
    {"name": "hours", "dtype": "float64", "nullable": True},
    {"name": "education", "dtype": "int64", "nullable": True},
]
_BROKEN = """
class Broken:
    def __init__(self):
        raise RuntimeError("the lookup table is missing")

    def predict(self, X):
        return X
"""
_EXACT = '''
class Exact:
    """Answers with the integers that it got; -1 raises."""

    def predict(self, X):
        if (X == -1).any():
            raise ValueError("no such id")
        return X
'''


def put_page_models(models: Path) -> Path:
    """Write all of them; return their folder."""
    for name in ("multiply", "iris_onnx"):
        shutil.copytree(ROOT / "models" / name, models / name, ignore=shutil.ignore_patterns("__pycache__"))
    put_flowers(models)
    put_income(models)
    put_reviews(models)
    put_progress(models, load="lazy")
    _put_code(models, "broken", "Broken", _BROKEN, "float32", description="Reads a table as it starts.")
    put_exact(models)
    return models


def put_exact(models: Path) -> None:
    """Write a model of integers, with a description that is no text to a browser that believes it."""
    _put_code(models, "exact", "Exact", _EXACT, "int64", description=HOSTILE)


def put_flowers(models: Path) -> None:
    """Write a classifier of plain numbers, whose classes have names."""
    data = load_iris()
    model = LogisticRegression(max_iter=1000).fit(data.data, data.target)
    _put(
        models, "flowers", model, {"type": "array", "shape": [-1, 4], "dtype": "float64"},
        {"type": "array", "shape": [-1, 3], "dtype": "float64"},
        description="The species of an iris, from the lengths and widths of its sepals and petals, in cm.",
        classes=[str(name) for name in data.target_names], method="predict_proba",
    )  # fmt: skip


def put_income(models: Path) -> None:
    """Write a classifier of named columns, some of which may be missing."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": random.integers(18, 80, 400),
            "city": pd.Series(random.choice(CITIES, 400), dtype=object),
            "hours": random.normal(38, 9, 400),
            "education": random.integers(8, 20, 400).astype(float),
        }
    )
    high = table.age * 0.04 + table.hours * 0.06 + table.education * 0.3 + (table.city == "Bern") > 8.6
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "hours", "education"]), (OneHotEncoder(), ["city"])
    )
    model = make_pipeline(prepare, LogisticRegression()).fit(table, np.where(high, "over 50k", "up to 50k"))
    _put(
        models, "income", model, {"columns": COLUMNS}, {"type": "array", "shape": [-1, 2], "dtype": "float64"},
        description="Whether somebody earns more than 50,000 a year.", version="3.1.0",
        classes=[str(label) for label in model.classes_], method="predict_proba", warmup=False,
    )  # fmt: skip


def put_reviews(models: Path) -> None:
    """Write a classifier of texts, which answers with a label."""
    texts = ["a lovely film", "dull and far too long", "I laughed and cried", "a waste of an evening"]
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, ["good", "bad", "good", "bad"])
    _put(
        models, "reviews", model, {"type": "array", "shape": [-1], "dtype": "string"},
        {"type": "array", "shape": [-1, 1], "dtype": "string"},
        description="Whether a review is a good one.", classes=["bad", "good"],
    )  # fmt: skip


def put_progress(models: Path, **keys: Any) -> None:
    """Write a regression of ten numbers."""
    data = load_diabetes()
    model = RandomForestRegressor(20, random_state=0).fit(data.data, data.target)
    _put(
        models, "progress", model, {"type": "array", "shape": [-1, 10], "dtype": "float64"},
        {"type": "array", "shape": [-1, 1], "dtype": "float64"},
        description="How far a disease is a year later.", **keys,
    )  # fmt: skip


def _put(
    models: Path, name: str, model: Any, given: Any, answered: Any, method: str | None = None, **keys: Any
) -> None:
    folder = models / name
    folder.mkdir(parents=True)
    joblib.dump(model, folder / "m.joblib")
    arguments = {"model_file": "m.joblib"} | ({} if method is None else {"method": method})
    text = model_yaml("sklearn", name=name, model_args=arguments, input=given, output=answered, **keys)
    (folder / "model_config.yaml").write_text(text, encoding="utf-8")


def _put_code(models: Path, name: str, of_class: str, code: str, dtype: str, **keys: Any) -> None:
    folder = models / name
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(code, encoding="utf-8")
    tensor = {"type": "array", "shape": [-1, 2], "dtype": dtype}
    arguments = {"class": f"models.{name}.model:{of_class}"}
    text = model_yaml("python", name=name, model_args=arguments, input=tensor, output=tensor, **keys)
    (folder / "model_config.yaml").write_text(text, encoding="utf-8")
