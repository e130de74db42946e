"""Models that take columns, texts or missing values, and what the originals answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.e2e.sample_models import folder

TABLE: dict[str, list[Any]] = {
    "age": [31, 40, 22, 55],
    "city": ["Bern", None, "Lima", "Bern"],
    "income": [1.5, None, 3.0, 4.25],
    "children": [None, 2, 0, 1],
}
# That of the config is another one than that of the fit.
ORDER = ["city", "income", "age", "children"]
_NUMBERS = [[1.0, None], [None, 2.5], [3.0, -1.0], [0.5, 0.25]]
_TEXTS = ["red wine", "white wine", "größe", "no such word"]


@dataclass(frozen=True)
class Original:
    """A model, its rows as a client sends them, and what it answers to them."""

    config: str
    rows: Any
    fit: Callable[[], Any]
    ask: Callable[[Any], Any]

    def expected(self) -> list[list[float]]:
        answer: list[list[float]] = np.asarray(self.ask(self.fit())).reshape(-1, 2).tolist()
        return answer


def _frame() -> pd.DataFrame:
    """As the runtime makes it: NaN in numbers, None in strings."""
    of = {"age": "int64", "city": object, "income": "float64", "children": "float64"}
    return pd.DataFrame({name: pd.Series(TABLE[name], dtype=dtype) for name, dtype in of.items()})


def _mixed() -> Any:
    prepare = make_column_transformer(
        (SimpleImputer(), ["income", "age", "children"]),
        (make_pipeline(SimpleImputer(missing_values=None, strategy="most_frequent"), OneHotEncoder()), ["city"]),
    )
    return make_pipeline(prepare, LogisticRegression()).fit(_frame(), [0, 1, 0, 1])


def _boosted() -> Any:
    return HistGradientBoostingClassifier(min_samples_leaf=1).fit(np.array(_NUMBERS, dtype=float), [0, 1, 0, 1])


def _texts() -> Any:
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(_TEXTS, [0, 1, 0, 1])


def _several() -> Any:
    table = pd.DataFrame({"b": [1.0, 2.0, 4.0], "a": [1, 0, 2]})
    return LinearRegression().fit(table, np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 13.0]]))


MODELS: dict[str, Original] = {
    "mixed": Original(
        """\
          input:
            columns:
              - {name: city, dtype: string, nullable: true}
              - {name: income, dtype: float64, nullable: true}
              - {name: age, dtype: int64}
              - {name: children, dtype: int64, nullable: true}
          output: {shape: [-1, 2], dtype: float64}
          preferred_batch_size: [4, 8]
        """,
        [[TABLE[name][i] for name in ORDER] for i in range(4)],
        _mixed,
        lambda model: model.predict_proba(_frame()),
    ),
    "boosted": Original(
        """\
          input: {shape: [-1, 2], dtype: float64, nullable: true}
          output: {shape: [-1, 2], dtype: float64}
          classes: ["no", "yes"]
        """,
        _NUMBERS,
        _boosted,
        lambda model: model.predict_proba(np.array(_NUMBERS, dtype=float)),
    ),
    "texts": Original(
        """\
          input: {shape: [-1], dtype: string}
          output: {shape: [-1, 2], dtype: float64}
          caching: true
        """,
        _TEXTS,
        _texts,
        lambda model: model.predict_proba(_TEXTS),
    ),
    "several": Original(
        """\
          input:
            - {name: a, shape: [-1, 1], dtype: int64}
            - {name: b, shape: [-1], dtype: float64}
          output: {shape: [-1, 2], dtype: float64}
          model_args: {model_file: m.joblib, method: predict}
        """,
        {"b": [[1.5], [2.5]], "a": [[3], [4]]},
        _several,
        lambda model: model.predict(pd.DataFrame({"b": [1.5, 2.5], "a": [3, 4]})),
    ),
}


# Names that code has to write in another way, of which two are one word to it.
ODD = ["class", "a b", "Age", "age", "größe", "to_dict"]
_ODD_ROWS = [[float(i + place) for place in range(len(ODD))] for i in range(3)]


def _odd() -> Any:
    return LinearRegression().fit(pd.DataFrame(_ODD_ROWS, columns=ODD), np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 1.0]]))


MODELS["Odd-Names.1"] = Original(
    "  input: {columns: ["
    + ", ".join(f"{{name: '{name}', dtype: float64}}" for name in ODD)
    + "]}\n  output: {shape: [-1, 2], dtype: float64}\n  model_args: {model_file: m.joblib, method: predict}\n",
    _ODD_ROWS,
    _odd,
    lambda model: model.predict(pd.DataFrame(_ODD_ROWS, columns=ODD)),
)


class _Difference(torch.nn.Module):  # type: ignore[misc]
    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left - 2 * right


_PAIRS: dict[str, Any] = {"right": [[1.0, 2.0], [3.0, 4.0]], "left": [[5.0, 6.0], [7.0, 8.0]]}
MODELS["swapped"] = Original(
    """\
      backend: torch
      model_args: {model_file: m.pt}
      input:
        - {name: right, shape: [-1, 2], dtype: float32}
        - {name: left, shape: [-1, 2], dtype: float32}
      output: {shape: [-1, 2], dtype: float32}
    """,
    _PAIRS,
    lambda: torch.jit.script(_Difference()),
    lambda module: module(left=torch.tensor(_PAIRS["left"]), right=torch.tensor(_PAIRS["right"])),
)


# A made-up row is of a city that the first was not fitted with.
SAMPLES = {"mixed", "Odd-Names.1"}


def write_all(models: Path) -> None:
    """Each in its folder of `models`."""
    for name, original in MODELS.items():
        more = "" if "model_args" in original.config else "  model_args: {model_file: m.joblib}\n"
        more += "" if "backend" in original.config else "  backend: sklearn\n"
        path = folder(models, name, f"model:\n  name: {name}\n{more}{indent(dedent(original.config), '  ')}")
        if name in SAMPLES:
            sample = {"features": original.rows, "predictions": original.expected()}
            (path / "sample.json").write_text(json.dumps(sample), encoding="utf-8")
        model = original.fit()
        if isinstance(model, torch.jit.ScriptModule):
            torch.jit.save(model, path / "m.pt")
        else:
            joblib.dump(model, path / "m.joblib")
