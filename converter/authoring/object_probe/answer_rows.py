"""A model's own answers to rows that clients send: each alone, all together, and some again.

The form of the request is that of its config: a column or tensor has the `dtype` that clients send, `wire` if another
one reaches the model, and `scalar` if a value reaches it without an axis of its own.
"""

from __future__ import annotations

import math
import random
from typing import Any

from . import CannotTell, answering, describing, edge_rows, made_rows, value_hints
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


class ClientRows:
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
    method = choose_asked_method(opened, request)
    rows = ClientRows(opened, request["form"])
    ask = answering.Asker(opened, rows.form, method)
    rng = random.Random(0)
    asked, edges = _choose_rows(request, rows, ask, learn_hints(opened, facts, rows.client_form), rng)
    said = ask_each(ask, rows, asked)
    answers = said["answers"]
    asked = asked[: len(answers)]
    batch, again = ask_again(ask, [rows.give(row) for row in asked], answers)
    if batch and min(batch) >= edges:
        # Sums that overflow, as of the largest numbers: which infinity comes first is no question of the model's.
        asked, said["answers"], said["refused"] = _leave_out(set(batch), asked, answers, said["refused"])
        batch = []
    return {
        **said, "rows": rows.write(asked), "batch": batch, "again": again, "method": method, "type": facts["type"],
        "versions": facts["versions"],
    }  # fmt: skip


def _leave_out(
    numbers: set[int], asked: list[Any], answers: list[list[Any] | None], refused: dict[int, str]
) -> tuple[list[Any], list[list[Any] | None], dict[int, str]]:
    kept = [number for number in range(len(asked)) if number not in numbers]
    left = {place: refused[number] for place, number in enumerate(kept) if number in refused}
    return [asked[number] for number in kept], [answers[number] for number in kept], left


def ask_each(
    ask: answering.Asker, rows: ClientRows | None, asked: list[Any], said: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask for one row after the other, as long as the answers have room, and note each in `said` as it comes."""
    said = {} if said is None else said
    said |= {"answers": [], "refused": {}, "names": [], "outputs": []}
    left = _MOST_VALUES
    for number, row in enumerate(asked):
        if left < 0:
            break
        try:
            outputs = ask.answer([rows.give(row) if rows else row])
        except (ImportError, MemoryError):
            raise
        except Exception as error:
            said["answers"].append(None)
            said["refused"][number] = explain(error)
            if isinstance(error, CannotTell):
                said["unfit"] = str(error)
            continue
        said["names"] = [item["name"] for item in outputs]
        said["outputs"] = [{key: item[key] for key in ("name", "dtype", "shape")} for item in outputs]
        said["answers"].append([item["values"][0] for item in outputs])
        left -= sum(_count(item["values"]) for item in outputs)
    return said


def _choose_rows(
    request: dict[str, Any], rows: ClientRows, ask: answering.Asker, hints: list[Any], rng: random.Random
) -> tuple[list[Any], int]:
    """Choose the rows to ask for, and say from which on they are edges."""
    form = rows.client_form
    given = rows.read(request["rows"] or [])
    base = given or make_up_rows(rows, ask, hints, rng, _CANDIDATES)
    room = max(1, _MOST_VALUES // max(1, _count(base[0])))
    base = base[:room]
    return base + edge_rows.make(form, hints, base, min(_MOST_EDGES, room - len(base)), rng), len(base)


def make_up_rows(
    rows: ClientRows, ask: answering.Asker, hints: list[Any], rng: random.Random, candidates: int
) -> list[Any]:
    """Make rows near what the model has seen; those that it answers, of several classes, if there are any."""
    form = rows.client_form
    count = max(1, min(candidates, _MOST_VALUES // made_rows.count_values(form)))
    made = made_rows.make(form, hints, count, rng, 1.0)
    good = ask.keep_answered([rows.give(row) for row in made])
    if len(good) == len(made):
        return made_rows.pick(made, ask.list_labels(good), _MADE, rng)
    taken = [row for row in made[: _MADE * 2] if ask.takes(rows.give(row))]
    return taken[:_MADE] or made[:_MADE]


def learn_hints(opened: Opened, facts: dict[str, Any], form: dict[str, Any]) -> list[Any]:
    """Learn what each value of a row of this form is like."""
    hints = value_hints.learn_as_described(opened.model, facts)
    count = made_rows.count_values(form)
    return hints if len(hints) == count else [value_hints.Hint() for _ in range(count)]


def choose_asked_method(opened: Opened, request: dict[str, Any]) -> str:
    """Choose as the runtime does (triton_repo_template/runtime/loaders.py)."""
    wanted: str | None = request.get("method")
    if opened.kind == "pickle" and wanted is None and request["wide"]:
        wanted = "predict_proba" if callable(getattr(opened.model, "predict_proba", None)) else None
    if wanted is None and opened.kind in ("pickle", "python"):
        # None if there is neither, which is said in other words.
        wanted = next((name for name in ("predict", "transform") if callable(getattr(opened.model, name, None))), None)
    return describing.choose_method(opened, wanted)


def _find_order(opened: Opened, form: dict[str, Any], names: list[str]) -> list[int]:
    """Return where in a client's row what the model takes first, second, … is."""
    known = names
    if form["form"] == "columns":
        fitted = names_of_fit(opened.model)
        known = names if fitted is None else fitted
    return [names.index(name) for name in (known if sorted(known) == sorted(names) else names)]


def names_of_fit(model: Any) -> list[str] | None:
    """Return the names that a model was fitted with; None if it has none, or a library numbered them itself."""
    # CatBoost has its own attribute.
    other = getattr(model, "feature_names_", None) if type(model).__module__.startswith("catboost") else None
    found = getattr(model, "feature_names_in_", other)
    names = [] if found is None else [str(name) for name in found]
    made_up = all(name in (f"Column_{i}", f"f{i}", str(i)) for i, name in enumerate(names))
    return None if made_up else names


def _takes_mapping(opened: Opened, form: dict[str, Any]) -> bool:
    tops = {kind.__module__.split(".")[0] for kind in type(opened.model).__mro__}
    return bool(form.get("several")) and names_of_fit(opened.model) is None and not tops & _LIBRARIES


def _takes_array(opened: Opened, columns: list[dict[str, Any]]) -> bool:
    """Tell whether a model that was fitted without names takes columns of one dtype as an array."""
    fitted = isinstance(getattr(opened.model, "n_features_in_", None), int)
    return names_of_fit(opened.model) is None and fitted and len({item["dtype"] for item in columns}) == 1


def ask_again(ask: answering.Asker, rows: list[Any], answers: list[list[Any] | None]) -> tuple[list[int], list[int]]:
    """Find the rows that have another answer together with all others, and of the first those that have one alone."""
    good = [number for number, values in enumerate(answers) if values is not None]
    batch: list[int] = []
    try:
        outputs = ask.answer([rows[number] for number in good]) if good else []
        for place, number in enumerate(good):
            joined = [item["values"][place] for item in outputs]
            batch += [] if is_close(joined, answers[number]) else [number]
    except Exception:
        # Rows of several sizes do not go together, here or where they are served.
        batch = []
    again = []
    for number in good[:_ASKED_AGAIN]:
        try:
            once_more = [item["values"][0] for item in ask.answer([rows[number]])]
        except Exception:
            once_more = []
        again += [] if is_close(once_more, answers[number]) else [number]
    return batch, again


def is_close(one: Any, other: Any) -> bool:
    """Tell whether two answers are the same but for how floats are added up."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=_CLOSE, abs_tol=1e-5) or (one != one and other != other)
    return bool(one == other)


def _count(value: Any) -> int:
    return sum(map(_count, value)) if isinstance(value, list) else 1


def explain(error: Exception) -> str:
    """Say what was raised, in one line."""
    if isinstance(error, CannotTell):
        return str(error)
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first[:200]}"
