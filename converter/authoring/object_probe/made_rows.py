"""Rows that nobody collected: values near those that a model has seen, and a choice that reaches its classes."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from typing import Any

_WORDS = ("red", "green", "blue", "small", "large", "good", "bad", "new", "old", "north", "south", "a", "b", "c")
_MOST_WORDS = 12
# One missing value in this many rows.
_ROWS_A_GAP = 8


def make(form: dict[str, Any], hints: list[Any], count: int, rng: random.Random, width: float) -> list[Any]:
    """Make rows of a form; `width` is how far from what was seen they may be."""
    if form["form"] == "text":
        words = hints[0].values or _WORDS
        return [" ".join(rng.choices(words, k=rng.randint(1, _MOST_WORDS))) for _ in range(count)]
    if form["form"] == "tensors":
        return [[_make_tensor(item, rng, width) for item in form["tensors"]] for _ in range(count)]
    if form["form"] == "columns":
        columns = list(zip([item["dtype"] for item in form["columns"]], hints, strict=True))
    else:
        columns = [(form["dtype"], hint) for hint in hints]
    spreads = [_find_spread(hint) for _, hint in columns]
    return [
        [_make_value(dtype, hint, spread, rng, width) for (dtype, hint), spread in zip(columns, spreads, strict=True)]
        for _ in range(count)
    ]


def count_values(form: dict[str, Any]) -> int:
    """Count the values of a row."""
    if form["form"] == "tensors":
        return sum(math.prod(max(1, size) for size in item["shape"]) for item in form["tensors"])
    return len(form["columns"]) if form["form"] == "columns" else int(form.get("width", 1))


def pick(rows: list[Any], labels: list[Any], count: int, rng: random.Random) -> list[Any]:
    """Pick rows of as many labels as there are, in turn."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for row, label in zip(rows, labels, strict=True):
        groups[str(label)].append(row)
    left = [group[::-1] for _, group in sorted(groups.items())]
    picked: list[Any] = []
    while len(picked) < count and (left := [group for group in left if group]):
        picked += [group.pop() for group in left][: count - len(picked)]
    rng.shuffle(picked)
    return picked


def leave_out(form: dict[str, Any], rows: list[Any]) -> list[Any]:
    """Leave out a value of some rows, where the model takes that."""
    if form["form"] == "columns":
        places = [i for i, column in enumerate(form["columns"]) if column.get("nullable")]
    else:
        places = list(range(form["width"])) if form.get("nullable") else []
    for number, row in enumerate(rows):
        if places and number % _ROWS_A_GAP == _ROWS_A_GAP - 1:
            row[places[number // _ROWS_A_GAP % len(places)]] = None
    return rows


def drop_gaps(form: dict[str, Any], rows: list[Any]) -> list[Any]:
    """Keep the rows that lack no value that the model needs."""
    if form["form"] == "columns":
        needed = [i for i, column in enumerate(form["columns"]) if not column.get("nullable")]
    else:
        needed = list(range(form["width"])) if form["form"] == "matrix" and not form.get("nullable") else []
    return [row for row in rows if all(row[i] is not None for i in needed)]


def _find_spread(hint: Any) -> float:
    values = [value for value in hint.values if not isinstance(value, str)] if hint is not None else []
    if len(values) < 2:
        return 1.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) or max(abs(mean) * 0.1, 1.0)


def _make_value(dtype: str, hint: Any, spread: float, rng: random.Random, width: float) -> Any:
    seen = hint.values if hint is not None else []
    if dtype == "string":
        if hint is not None and hint.kind == "text":
            return " ".join(rng.choices(seen or _WORDS, k=rng.randint(1, _MOST_WORDS)))
        return rng.choice(seen or _WORDS)
    if dtype == "bool":
        return rng.random() < 0.5
    if dtype.startswith(("int", "uint")):
        value = rng.choice(seen) if seen else rng.randint(0, int(9 * width))
        return abs(int(value)) if dtype.startswith("u") else int(value)
    if hint is not None and hint.origin.startswith(("categories_", "its categories")):
        return float(rng.choice(seen))
    if not seen:
        # Of several sizes, since nothing tells which is usual.
        return rng.gauss(0, 1) * width * 10 ** rng.uniform(-1, 1)
    return float(rng.choice(seen)) + rng.gauss(0, 0.25) * spread * width


def _make_tensor(item: dict[str, Any], rng: random.Random, width: float) -> Any:
    def fill(shape: list[int]) -> Any:
        if shape:
            return [fill(shape[1:]) for _ in range(max(1, shape[0]))]
        return _make_value(item["dtype"], None, 1.0, rng, width)

    return fill(item["shape"])
