"""What a model answers to ten thousand rows, and how fast: before it is converted, and after."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import numpy as np

from .. import answer_rows, answering, describing, edge_rows, made_rows
from ..opening import Opened, open_model

_MADE = 10_000
_AT_THRESHOLDS = 2_000
_EDGES = 500
_LARGEST = 1e100
# Rows of many values are fewer.
_MOST_VALUES = 20_000_000
_TOGETHER = 1_000
# Of the timing, for each number of rows.
_SECONDS, _LEAST, _MOST = 0.3, 5, 300
_TIMED = (1, 32)


def answer_many(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the rows of the file `asked`, or make and write them first; the answers go to the file `answered`.

    An answer is None if the model refuses the row. `medians` are the seconds of a call with 1 row and with 32.
    """
    opened = open_model(request)
    facts = describing.describe(opened.model)
    method = answer_rows.choose_asked_method(opened, request)
    rows = answer_rows.ClientRows(opened, request["form"])
    ask = answering.Asker(opened, rows.form, method)
    if request["make"]:
        made = _make(request, rows, answer_rows.learn_hints(opened, facts, rows.client_form))
        _write(request["asked"], rows.write(made))
    else:
        with open(request["asked"], encoding="utf-8") as file:
            made = rows.read(json.load(file))
    given = [rows.give(row) for row in made]
    answers = _answer(ask, given)
    _write(request["answered"], answers)
    good = [row for row, answer in zip(given, answers, strict=True) if answer is not None]
    return {
        "rows": len(made), "medians": [_time(opened, ask, method, good, count) for count in _TIMED] if good else None,
        "type": facts["type"], "classifies": bool(np.size(getattr(opened.model, "classes_", ()))), "method": method,
        "estimators": getattr(opened.model, "n_estimators", None), "versions": facts["versions"],
    }  # fmt: skip


def _make(request: dict[str, Any], rows: answer_rows.ClientRows, hints: list[Any]) -> list[Any]:
    """Make the rows: those of the sample, made-up ones, those at edges, and those at thresholds."""
    rng = random.Random(0)
    form = rows.client_form
    room = max(64, _MOST_VALUES // made_rows.count_values(form))
    sample = rows.read(request["rows"] or [])
    made = made_rows.make(form, hints, min(_MADE, room), rng, 1.0)
    if form["form"] != "text":
        made_rows.leave_out(form, made)
    base = [*sample, *made]
    edges = [row for row in edge_rows.make(form, hints, base, min(_EDGES, room), rng) if not _overflows(row)]
    return [*base, *edges, *make_at_thresholds(form, hints, base, min(_AT_THRESHOLDS, room), rng)]


def _overflows(row: Any) -> bool:
    """Tell whether squares of a row's numbers are beyond float64: then what a model answers means nothing."""
    return any(isinstance(value, float) and abs(value) > _LARGEST for value in (row if isinstance(row, list) else ()))


def make_at_thresholds(
    form: dict[str, Any], hints: list[Any], base: list[Any], most: int, rng: random.Random
) -> list[Any]:
    """Make rows whose numbers stand at what a model splits at, or one step of float64 or float32 beside it.

    In each, about half of the numbers do: so whatever way a row takes through a tree, some of its splits are near.
    """
    if form["form"] not in ("matrix", "columns"):
        return []
    dtypes = [item["dtype"] for item in form["columns"]] if "columns" in form else [form["dtype"]] * form["width"]
    values = [
        [value for value in hint.values if isinstance(value, int | float)] if dtype.startswith("float") else []
        for hint, dtype in zip(hints, dtypes, strict=True)
    ]
    if not any(values):
        return []
    made = []
    for _ in range(most):
        row = list(rng.choice(base))
        for place, (near, dtype) in enumerate(zip(values, dtypes, strict=True)):
            if near and rng.random() < 0.5:
                row[place] = rng.choice(edge_rows.list_neighbours(float(rng.choice(near)), dtype))
        made.append(row)
    return made


def _answer(ask: answering.Asker, rows: list[Any]) -> list[Any]:
    answers: list[Any] = []
    for start in range(0, len(rows), _TOGETHER):
        answers += _answer_together(ask, rows[start : start + _TOGETHER])
    return answers


def _answer_together(ask: answering.Asker, rows: list[Any]) -> list[Any]:
    """Answer rows in one call; in halves if it refuses them, to find the guilty ones."""
    try:
        outputs = ask.answer(rows)
    except (ImportError, MemoryError):
        raise
    except Exception:
        if len(rows) == 1:
            return [None]
        half = len(rows) // 2
        return _answer_together(ask, rows[:half]) + _answer_together(ask, rows[half:])
    return outputs[0]["values"] if len(outputs) == 1 else [None] * len(rows)


def _time(opened: Opened, ask: answering.Asker, method: str, good: list[Any], count: int) -> float:
    """Return the median of the seconds of a call with so many rows."""
    given = ask.as_input((good * count)[:count])
    taken: list[float] = []
    until = time.perf_counter() + _SECONDS
    while len(taken) < _LEAST or (len(taken) < _MOST and time.perf_counter() < until):
        started = time.perf_counter()
        opened.call(method, given)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def _write(path: str, value: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)
