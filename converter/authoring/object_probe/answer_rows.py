"""A model's own answers to rows that clients send: each alone, all together, and some again.

The form of the request is that of its config: a column or tensor has the `dtype` that clients send, `wire` if another
one reaches the model, and `scalar` if a value reaches it without an axis of its own.
"""

from __future__ import annotations

import math
import random
from typing import Any

from . import answering, describing, edge_rows, made_rows, value_hints
from .opening import Opened, open_model

# Rows of a model without a sample; and rows at edges.
_MADE, _CANDIDATES = 16, 128
_MOST_EDGES = 48
# Of all rows together, and of their answers.
_MOST_VALUES = 400_000
_ASKED_AGAIN = 4
_CLOSE = 1e-3
# As triton_repo_template/runtime/inputs/data_frame.py has them.
_LIBRARIES = {"catboost", "category_encoders", "imblearn", "lightgbm", "sklearn", "statsmodels", "xgboost"}


class _Rows:
    """Clients' rows → those that the model takes, which may have another order or form."""

    def __init__(self, opened: Opened, form: dict[str, Any]) -> None:
        items = form.get("columns") or form.get("tensors") or []
        self.order = _find_order(opened, form, [item["name"] for item in items])
        ordered = [items[place] for place in self.order]
        self.client_form = dict(form, **{form["form"]: ordered}) if items else dict(form)
        wired = [dict(item, dtype=item.get("wire", item["dtype"])) for item in ordered]
        self.form: dict[str, Any]
        self.boxed = form["form"] == "columns" and _takes_mapping(opened, form)
        self.unboxed = [form["form"] == "tensors" and bool(item.get("scalar")) for item in ordered]
        if self.boxed:
            self.form = {"form": "tensors", "tensors": [dict(item, shape=[1]) for item in wired]}
        elif form["form"] == "columns" and _takes_array(opened, wired):
            self.form = {"form": "matrix", "dtype": wired[0]["dtype"], "width": len(wired)}
        elif items:
            self.form = dict(form, **{form["form"]: wired})
        else:
            self.form = {**form, "dtype": form.get("wire", form.get("dtype"))}

    def read(self, rows: list[Any]) -> list[Any]:
        """Put the values of clients' rows into the model's order."""
        return [[row[place] for place in self.order] for row in rows] if self.order else rows

    def write(self, rows: list[Any]) -> list[Any]:
        """Put them back."""
        back = [self.order.index(place) for place in range(len(self.order))]
        return [[row[place] for place in back] for row in rows] if self.order else rows

    def give(self, row: Any) -> Any:
        """Return a row as the model's form has it."""
        if self.boxed:
            return [[value] for value in row]
        if any(self.unboxed):
            return [value[0] if bare else value for value, bare in zip(row, self.unboxed, strict=True)]
        return row


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the request's rows and rows at edges, or rows that are made up if it has none.

    An answer is None if the model refuses the row, for the reason in `refused`. `batch` and `again` list the rows that
    have another answer together with the others, and when they are asked for a second time.
    """
    opened = open_model(request)
    facts = describing.describe(opened.model)
    method = _choose_method(opened, request)
    rows = _Rows(opened, request["form"])
    ask = answering.Asker(opened, rows.form, method)
    rng = random.Random(0)
    asked = _choose_rows(request, rows, ask, _learn(opened, facts, rows.client_form), rng)
    answers: list[list[Any] | None] = []
    refused: dict[int, str] = {}
    names: list[str | None] = []
    left = _MOST_VALUES
    for number, row in enumerate(asked):
        if left < 0:
            break
        try:
            outputs = ask.answer([rows.give(row)])
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            answers.append(None)
            refused[number] = _explain(error)
            continue
        names = [item["name"] for item in outputs]
        answers.append([item["values"][0] for item in outputs])
        left -= sum(_count(item["values"]) for item in outputs)
    asked = asked[: len(answers)]
    batch, again = _ask_again(ask, [rows.give(row) for row in asked], answers)
    return {
        "rows": rows.write(asked), "answers": answers, "refused": refused, "names": names, "batch": batch,
        "again": again, "method": method, "type": facts["type"], "versions": facts["versions"],
    }  # fmt: skip


def _choose_rows(
    request: dict[str, Any], rows: _Rows, ask: answering.Asker, hints: list[Any], rng: random.Random
) -> list[Any]:
    form = rows.client_form
    given = rows.read(request["rows"] or [])
    base = given or _make_up(form, rows, ask, hints, rng)
    room = max(1, _MOST_VALUES // max(1, _count(base[0])))
    base = base[:room]
    return base + edge_rows.make(form, hints, base, min(_MOST_EDGES, room - len(base)), rng)


def _make_up(
    form: dict[str, Any], rows: _Rows, ask: answering.Asker, hints: list[Any], rng: random.Random
) -> list[Any]:
    """Make rows near what the model has seen; those that it answers, of several classes, if there are any."""
    count = max(1, min(_CANDIDATES, _MOST_VALUES // made_rows.count_values(form)))
    made = made_rows.make(form, hints, count, rng, 1.0)
    good = ask.keep_answered([rows.give(row) for row in made])
    if len(good) == len(made):
        return made_rows.pick(made, ask.list_labels(good), _MADE, rng)
    taken = [row for row in made[: _MADE * 2] if ask.takes(rows.give(row))]
    return taken[:_MADE] or made[:_MADE]


def _learn(opened: Opened, facts: dict[str, Any], form: dict[str, Any]) -> list[Any]:
    hints = value_hints.learn(opened.model, facts["width"], facts["names"])
    count = made_rows.count_values(form)
    return hints if len(hints) == count else [value_hints.Hint() for _ in range(count)]


def _choose_method(opened: Opened, request: dict[str, Any]) -> str:
    """Choose as the runtime does (triton_repo_template/runtime/loaders.py)."""
    wanted: str | None = request.get("method")
    if opened.kind == "pickle" and wanted is None and request["wide"]:
        wanted = "predict_proba" if callable(getattr(opened.model, "predict_proba", None)) else None
    if wanted is None and opened.kind in ("pickle", "python"):
        wanted = "predict" if callable(getattr(opened.model, "predict", None)) else "transform"
    return describing.choose_method(opened, wanted)


def _find_order(opened: Opened, form: dict[str, Any], names: list[str]) -> list[int]:
    """Return where in a client's row what the model takes first, second, … is."""
    known: list[str] = names
    if form["form"] == "columns":
        fitted = _names_of_fit(opened)
        known = names if fitted is None else [str(name) for name in fitted]
    return [names.index(name) for name in (known if sorted(known) == sorted(names) else names)]


def _names_of_fit(opened: Opened) -> Any:
    return getattr(opened.model, "feature_names_in_", None)


def _takes_mapping(opened: Opened, form: dict[str, Any]) -> bool:
    tops = {kind.__module__.split(".")[0] for kind in type(opened.model).__mro__}
    return bool(form.get("several")) and _names_of_fit(opened) is None and not tops & _LIBRARIES


def _takes_array(opened: Opened, columns: list[dict[str, Any]]) -> bool:
    """Tell whether a model that was fitted without names takes columns of one dtype as an array."""
    fitted = isinstance(getattr(opened.model, "n_features_in_", None), int)
    return _names_of_fit(opened) is None and fitted and len({item["dtype"] for item in columns}) == 1


def _ask_again(ask: answering.Asker, rows: list[Any], answers: list[list[Any] | None]) -> tuple[list[int], list[int]]:
    """Find the rows that have another answer together with all others, and of the first those that have one alone."""
    good = [number for number, values in enumerate(answers) if values is not None]
    batch: list[int] = []
    try:
        outputs = ask.answer([rows[number] for number in good]) if good else []
        for place, number in enumerate(good):
            joined = [item["values"][place] for item in outputs]
            batch += [] if _is_close(joined, answers[number]) else [number]
    except Exception:
        # Rows of several sizes do not go together, here or where they are served.
        batch = []
    again = []
    for number in good[:_ASKED_AGAIN]:
        try:
            once_more = [item["values"][0] for item in ask.answer([rows[number]])]
        except Exception:
            once_more = []
        again += [] if _is_close(once_more, answers[number]) else [number]
    return batch, again


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-5) or (one != one and other != other)
    return bool(one == other)


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1


def _explain(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first[:200]}"
