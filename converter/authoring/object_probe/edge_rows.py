"""Rows at the edges of what a model may be asked: zeros, ones, large values, neighbours of thresholds, gaps, odd texts.

A form's dtypes are those of the values that clients send.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

_TEXTS = ("", " ", "Zürich, 東京 🙂", "null")
# Of each feature: more of its thresholds say nothing new.
_MOST_THRESHOLDS = 4
_LARGE = 1e6
# Beyond these, integers are not exact in JSON's numbers.
_MOST_WHOLE = 2**53 - 1


def make(form: dict[str, Any], hints: list[Any], base: list[Any], most: int, rng: random.Random) -> list[Any]:
    """Make at most so many rows, by changing these of `base`."""
    if form["form"] == "text":
        return list(_TEXTS)[:most]
    rows = list(_make_uniform(form, base[0]))
    if form["form"] == "tensors":
        return rows[:most]
    changes = [(place, value) for place, values in enumerate(_list_changes(form, hints, rng)) for value in values]
    rng.shuffle(changes)
    for place, value in changes[: max(0, most - len(rows))]:
        row = list(rng.choice(base))
        row[place] = value
        rows.append(row)
    return rows[:most]


def list_edges(dtype: str) -> list[Any]:
    """List zero, one, minus one, and large values of a dtype."""
    if dtype == "string":
        return list(_TEXTS)
    if dtype == "bool":
        return [False, True]
    if dtype.startswith("float"):
        largest = float(np.finfo(dtype).max) / 2
        return [0.0, 1.0, -1.0, min(_LARGE, largest), largest, -largest]
    limits = np.iinfo(dtype)
    values = [0, 1, -1, min(int(limits.max), _MOST_WHOLE), max(int(limits.min), -_MOST_WHOLE)]
    return list(dict.fromkeys(value for value in values if value >= limits.min))


def _make_uniform(form: dict[str, Any], row: list[Any]) -> Iterator[list[Any]]:
    """Make rows of one edge in each place; texts beside other columns stay as they are."""
    items = form["tensors"] if form["form"] == "tensors" else _list_columns(form)
    kept = form["form"] != "tensors"
    edges = [None if kept and item["dtype"] == "string" else list_edges(item["dtype"]) for item in items]
    for number in range(max((len(values) for values in edges if values), default=0)):
        yield [
            value if values is None else _fill(value, values[number % len(values)])
            for value, values in zip(row, edges, strict=True)
        ]


def _fill(like: Any, value: Any) -> Any:
    return [_fill(inner, value) for inner in like] if isinstance(like, list) else value


def _list_columns(form: dict[str, Any]) -> list[dict[str, Any]]:
    if form["form"] == "columns":
        columns: list[dict[str, Any]] = form["columns"]
        return columns
    return [{"dtype": form["dtype"], "nullable": form.get("nullable", False)}] * int(form["width"])


def _list_changes(form: dict[str, Any], hints: list[Any], rng: random.Random) -> Iterator[list[Any]]:
    """List, for each place of a row, what is to stand there once."""
    for column, hint in zip(_list_columns(form), hints, strict=True):
        dtype = column["dtype"]
        changes: list[Any] = [None] if column.get("nullable") else []
        changes += list_edges(dtype)
        if dtype.startswith("float"):
            numbers = [value for value in hint.values if isinstance(value, int | float)]
            chosen = rng.sample(numbers, min(len(numbers), _MOST_THRESHOLDS))
            changes += [near for value in chosen for near in list_neighbours(float(value), dtype)]
        yield changes


def list_neighbours(value: float, dtype: str) -> list[float]:
    """List a value and those next to it, also as trees have them that compare float32."""
    found: list[float] = []
    for name in dict.fromkeys((dtype, "float32" if dtype == "float64" else dtype)):
        with np.errstate(over="ignore"):
            here = np.dtype(name).type(value)
            near = (here, np.nextafter(here, here.dtype.type(-np.inf)), np.nextafter(here, here.dtype.type(np.inf)))
        found += [float(item) for item in near if np.isfinite(item)]
    return list(dict.fromkeys(found))
