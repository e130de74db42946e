"""Rows in JSON's terms → a model's input, and what it returns → JSON's terms again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import CannotTell
from .fitted_columns import fill_missing, find_categories, find_missing
from .opening import Opened

_MOST_TRIED_ALONE = 64
_NUMBERS = "biuf"


class Asker:
    """Asks a model by one method; `has_labels` if its answers, or those of its `predict`, are classes."""

    def __init__(self, opened: Opened, form: dict[str, Any], method: str) -> None:
        self._opened = opened
        self._form = form
        self._method = method
        self._labelling = "predict" if callable(getattr(opened.model, "predict", None)) else method
        self.last_error: BaseException | None = None
        self._missing = find_missing(opened.model)
        names = [item["name"] for item in form["columns"]] if form["form"] == "columns" else []
        self._categories = list(find_categories(opened.model, names)) if names else []
        classes = getattr(opened.model, "classes_", None)
        self.has_labels = (classes is not None and len(classes) > 0) or opened.kind in (
            "onnx",
            "torchscript",
        )

    def answer(self, rows: list[Any], method: str | None = None) -> list[dict[str, Any]]:
        """Return each output: its name if it has one, dtype, the shape of a row, and its rows."""
        result = self._opened.call(method or self._method, self.as_input(rows))
        outputs = [_describe(name, value, len(rows)) for name, value in _name_values(result, len(rows))]
        return [output for output in outputs if output is not None]

    def as_input(self, rows: list[Any]) -> Any:
        """Make what the model takes, as the runtime does."""
        given = as_input(self._form, rows, self._missing)
        return given.astype(dict.fromkeys(self._categories, "category")) if self._categories else given

    def keep_answered(self, rows: list[Any]) -> list[Any]:
        """Keep the rows that have a finite answer."""
        try:
            return [row for row, ok in zip(rows, _find_finite(self.answer(rows), len(rows)), strict=True) if ok]
        except CannotTell:
            raise
        except Exception as error:
            self.last_error = error
        kept = []
        for row in rows[:_MOST_TRIED_ALONE]:
            try:
                kept += [row] if all(_find_finite(self.answer([row]), 1)) else []
            except Exception as error:
                self.last_error = error
        return kept

    def list_labels(self, rows: list[Any]) -> list[Any]:
        """List the label of each row, as far as the model gives labels."""
        if not self.has_labels:
            return [0] * len(rows)
        outputs = self.answer(rows, self._labelling)
        whole = [item for item in outputs if item["dtype"][:3] in ("int", "uin", "str", "boo")]
        if whole:
            return [repr(value) for value in whole[0]["values"]]
        values: Any = (
            np.array(outputs[0]["values"], dtype=float).reshape(len(rows), -1) if outputs else np.zeros((0, 1))
        )
        if values.shape[1:] == (1,):
            return [bool(value > 0.5) for value in values[:, 0]]
        return [int(value) for value in values.argmax(axis=1)]

    def takes(self, row: Any) -> bool:
        """Tell whether a row has a finite answer."""
        try:
            return all(_find_finite(self.answer([row]), 1))
        except Exception:
            return False


def find_nullable(ask: Asker, form: dict[str, Any], row: list[Any]) -> None:
    """Note in the form where a missing value has an answer, by trying one in the place of each value."""
    if form["form"] not in ("matrix", "columns"):
        return
    places = range(len(row))
    if len(row) > _MOST_TRIED_ALONE:
        taken = dict.fromkeys(places, ask.takes([None] * len(row)))
    else:
        taken = {i: ask.takes([None if i == place else value for place, value in enumerate(row)]) for i in places}
    if form["form"] == "columns":
        for i, column in enumerate(form["columns"]):
            column["nullable"] = taken[i] and column["dtype"] != "bool"
    else:
        form["nullable"] = all(taken.values()) and form["dtype"].startswith("float")


def as_input(form: dict[str, Any], rows: list[Any], missing: float | None) -> Any:
    """Make what the model takes: an array, DataFrame, texts, or arrays by name; `missing` stands for a missing text."""
    if form["form"] == "text":
        return np.array(rows, dtype=object)
    if form["form"] == "tensors":
        return {
            item["name"]: np.array([row[i] for row in rows], dtype=_numpy_name(item["dtype"])).reshape(
                len(rows), *np.shape(rows[0][i])
            )
            for i, item in enumerate(form["tensors"])
        }
    if form["form"] == "columns":
        import pandas

        columns = form["columns"]
        return pandas.DataFrame(
            {
                item["name"]: _make_column([row[i] for row in rows], item["dtype"], missing)
                for i, item in enumerate(columns)
            }
        )
    return np.array(rows, dtype=_numpy_name(form["dtype"]))


def _make_column(values: list[Any], dtype: str, missing: float | None) -> Any:
    if dtype not in ("string", "bool") and None in values:
        dtype = "float64"
    array: Any = np.array(values, dtype=_numpy_name(dtype))
    return fill_missing(array, missing) if dtype == "string" else array


def _numpy_name(dtype: str) -> str:
    return "object" if dtype == "string" else dtype


def _name_values(result: Any, rows: int) -> list[tuple[str | None, Any]]:
    if isinstance(result, dict):
        return list(result.items())
    if isinstance(result, tuple) or (
        isinstance(result, list) and result and np.ndim(result[0]) > 0 and len(result) != rows
    ):
        return [(f"output_{i}", value) for i, value in enumerate(result)]
    return [(None, result)]


def _describe(name: str | None, value: Any, rows: int) -> dict[str, Any] | None:
    """Describe one output; None for what is no array, as a graph's list of mappings."""
    if hasattr(value, "toarray"):
        value = value.toarray()
    elif hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return None
    array: Any = np.asarray(value)
    if array.ndim == 0 or len(array) != rows:
        found = f"{len(array)} answers" if array.ndim else "one value"
        raise CannotTell(f"it gives {found} for {rows} rows, and each row is to have its own")
    if array.dtype.kind not in _NUMBERS + "OUS":
        raise CannotTell(f"it answers with {array.dtype}, which is not served")
    dtype = array.dtype.name if array.dtype.kind in _NUMBERS else "string"
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    values = array.tolist()
    if dtype == "string" and not all(isinstance(item, str) for item in array.ravel().tolist()):
        # Labels of several kinds, or numbers in an array of objects.
        array = np.array(values)
        dtype = array.dtype.name if array.dtype.kind in _NUMBERS else "string"
        values = array.tolist()
    return {"name": name, "dtype": dtype, "shape": list(array.shape[1:]), "values": values}


def _find_finite(outputs: list[dict[str, Any]], rows: int) -> list[bool]:
    found = [True] * rows
    for output in outputs:
        if output["dtype"].startswith("float"):
            for i, value in enumerate(output["values"]):
                found[i] = found[i] and _is_finite(value)
    return found


def _is_finite(value: Any) -> bool:
    return all(map(_is_finite, value)) if isinstance(value, list) else math.isfinite(value)
