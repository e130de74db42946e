"""One model from end to end: opened, described, given rows, and asked."""

from __future__ import annotations

import random
from typing import Any

from . import answering, data_rows, describing, made_rows, opening, unlike_fit, value_hints
from .cannot_tell import CannotTell

__all__ = ["CannotTell", "examine"]

# Candidates, of which the rows of the sample are picked.
_MOST_CANDIDATES = 1000
_MOST_VALUES = 1_000_000
_TRIES = 3


def examine(request: dict[str, Any]) -> dict[str, Any]:
    """Say what a model is, what it takes and gives, and what it answers to some rows. Raises CannotTell."""
    opened = opening.open_model(request)
    facts = describing.describe(opened.model)
    method = describing.choose_method(opened, request.get("method"))
    data = data_rows.read(request["data"]) if request.get("data") else None
    hints = value_hints.learn(opened.model, facts["width"], facts["names"])
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
    if not good:
        raise CannotTell(_explain(ask.last_error, data is not None), None if data else "--data")
    rows = made_rows.pick(good, ask.list_labels(good), request["rows"], rng)
    if data is None or form.get("nullable") is None:
        answering.find_nullable(ask, form, rows[0])
        rows = made_rows.leave_out(form, rows) if data is None else rows
    labels = {str(label) for label in ask.list_labels(rows)}
    return {
        "facts": facts, "form": form, "method": method, "rows": rows, "outputs": ask.answer(rows),
        "labels": len(labels) if ask.has_labels else None, "generated": data is None,
        "unlike": unlike,
    }  # fmt: skip


def _make(ask: answering.Asker, form: dict[str, Any], hints: list[Any], rng: random.Random) -> tuple[list[Any], Any]:
    """Make rows until a classifier gives two labels, wider each time."""
    candidates: list[Any] = []
    good: list[Any] = []
    for attempt in range(_TRIES):
        candidates = made_rows.make(form, hints, _count_candidates(form), rng, 10.0**attempt)
        good += ask.keep_answered(candidates)
        if not ask.has_labels or len({str(label) for label in ask.list_labels(good)}) > 1:
            break
    return candidates, good


def _count_candidates(form: dict[str, Any]) -> int:
    return max(64, min(_MOST_CANDIDATES, _MOST_VALUES // made_rows.count_values(form)))


def _explain(error: BaseException | None, of_data: bool) -> str:
    which = "these rows" if of_data else "made-up rows"
    if error is None:
        return f"it gives no finite answer to {which}"
    first = next(iter(str(error).strip().splitlines()), "")
    return f"it raises {type(error).__name__} on {which}: {first[:300]}"
