"""One model from end to end: opened, described, given rows, and asked."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np

from . import CannotTell, answering, data_rows, describing, made_rows, opening, unlike_fit, value_hints

__all__ = ["CannotTell", "examine"]

# Candidates, of which the rows of the sample are picked.
_MOST_CANDIDATES = 1000
_MOST_VALUES = 1_000_000
_TRIES = 3
# Of asking each row alone; and below this, what counts is the difference itself.
_MOST_SECONDS = 2.0
_SMALL = 1e-2


def examine(request: dict[str, Any]) -> dict[str, Any]:
    """Say what a model is, what it takes and gives, and what it answers to some rows. Raises CannotTell."""
    opened = opening.open_model(request)
    facts = describing.describe(opened.model)
    method = describing.choose_method(opened, request.get("method"))
    data = data_rows.read(request["data"]) if request.get("data") else None
    hints = value_hints.learn_as_described(opened.model, facts)
    form = describing.find_form(opened, facts, hints, data, request.get("form"))
    if len(hints) != made_rows.count_values(form):
        hints = [value_hints.Hint() for _ in range(made_rows.count_values(form))]
    if request.get("example"):
        value_hints.learn_rows(hints, data_rows.read(request["example"]).rows)
    unlike = None
    ask = answering.Asker(opened, form, method)
    rng = random.Random(0)
    if data is not None:
        rows = data_rows.fit(data, form)
        unlike = unlike_fit.find_unlike(hints, rows, facts["names"])
        most = _count_candidates(form)
        candidates = rows if len(rows) <= most else rng.sample(rows, most)
        good = ask.keep_answered(candidates)
    else:
        candidates, good = _make(ask, form, hints, rng)
    if not good and facts["width_guessed"] and data is None and form["form"] == "matrix":
        raise CannotTell(describing.NO_WIDTH, "--input-shape")
    if not good:
        raise CannotTell(_explain(ask.last_error, data is not None), "--data")
    rows = _choose(ask, form, good, request["rows"], data is None, rng)
    labels = {str(label) for label in ask.list_labels(rows)}
    outputs = ask.answer(rows)
    return {
        "facts": facts, "form": form, "method": method, "rows": rows, "outputs": outputs,
        "labels": len(labels) if ask.has_labels else None, "generated": data is None,
        "unlike": unlike, "spread": _find_spread(ask, rows, outputs),
    }  # fmt: skip


def _choose(
    ask: answering.Asker, form: dict[str, Any], good: list[Any], count: int, made: bool, rng: random.Random
) -> list[Any]:
    """Choose the rows of the sample, and note in the form where a value may be missing. Raises CannotTell for none."""
    if not made and form.get("nullable") is None:
        # A text is a row of its own.
        whole = [row for row in good if not isinstance(row, list) or None not in row]
        answering.find_nullable(ask, form, whole[0] if whole else good[0])
        good = made_rows.drop_gaps(form, good)
        if not good:
            raise CannotTell("no row of the data has all values that it needs: give some that have", "--data")
    rows = made_rows.pick(good, ask.list_labels(good), count, rng)
    if not made:
        return rows
    answering.find_nullable(ask, form, rows[0])
    return made_rows.leave_out(form, rows)


def _find_spread(ask: answering.Asker, rows: list[Any], together: list[dict[str, Any]]) -> float:
    """Find how far, relative to the number, a row's answer alone is from that which it has together with the others."""
    largest = 0.0
    until = time.monotonic() + _MOST_SECONDS
    for number, row in enumerate(rows):
        if time.monotonic() > until:
            break
        for mine, all_of in zip(ask.answer([row]), together, strict=True):
            if all_of["dtype"].startswith("float"):
                alone, joined = np.array(mine["values"][0]), np.array(all_of["values"][number])
                largest = max(largest, float(np.max(np.abs(alone - joined) / np.maximum(np.abs(joined), _SMALL))))
    return largest


def _make(ask: answering.Asker, form: dict[str, Any], hints: list[Any], rng: random.Random) -> tuple[list[Any], Any]:
    """Make rows until a classifier gives two labels, wider each time."""
    candidates: list[Any] = []
    good: list[Any] = []
    for attempt in range(_TRIES):
        candidates = made_rows.make(form, hints, _count_candidates(form), rng, 10.0**attempt)
        good += ask.keep_answered(candidates)
        if good and (not ask.has_labels or len({str(label) for label in ask.list_labels(good)}) > 1):
            break
    return candidates, good


def _count_candidates(form: dict[str, Any]) -> int:
    return max(64, min(_MOST_CANDIDATES, _MOST_VALUES // made_rows.count_values(form)))


def _explain(error: BaseException | None, of_data: bool) -> str:
    which = "these rows" if of_data else "made-up rows"
    if error is None:
        return f"it gives no finite answer to {which}: give others with --data"
    first = next(iter(str(error).strip().splitlines()), "")
    remedy = "give other rows" if of_data else "give rows that it takes"
    return f"it raises {type(error).__name__} on {which}: {first[:300]}: {remedy} with --data"
