"""A model tried as its config has it called: what it says of itself, and what it answers, within bounds of time."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import CannotTell, answer_rows, answering, describing, made_rows, unlike_fit
from .opening import Opened, import_as_served, open_model

_CANDIDATES = 32
# For a model that gets one row at a time.
_ALONE = 4
# Of a feature that is text: more of its categories need not be sent.
_MOST_TEXTS = 200
_MOST_NULLS = 32
# Beyond it float32 has gaps between whole numbers.
_EXACT = 2.0**24


class OverTime(BaseException):
    """The model took longer than it may; no Exception, which a model may catch."""


def try_model(request: dict[str, Any]) -> dict[str, Any]:
    """Describe the request's model, and ask it the request's rows, or made-up ones.

    What was found before something went wrong is in the answer: `problem` is what was raised, `slow` what took longer
    than the request's seconds, `unfit` why an answer cannot be served. `seen` is what each value of a row was like in
    the fit. `finer` are rows that have another answer in float64 than in float32; `takes_float64` if they have
    one there alone.
    """
    with _limit(request["load_seconds"], "to load"), import_as_served(request):
        opened = open_model(request)
        facts = describing.describe(opened.model)
    said: dict[str, Any] = {"facts": facts, "fitted": answer_rows.names_of_fit(opened.model)}
    if opened.kind == "torchscript":
        arguments = opened.model.forward.schema.arguments[1:]
        said["arguments"] = [[item.name, item.has_default_value()] for item in arguments]
    try:
        with _limit(request["seconds"], "to answer some rows"):
            _ask(opened, said, request)
    except CannotTell as error:
        said |= {"problem": str(error), "key": error.key}
    except OverTime as error:
        said["slow"] = str(error)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        said["problem"] = answer_rows.explain(error)
    return said


def _ask(opened: Opened, said: dict[str, Any], request: dict[str, Any]) -> None:
    """Ask, and note in `said` what is known so far."""
    facts = said["facts"]
    form = _give_width(request["form"], facts["width"])
    said["method"] = method = answer_rows.choose_asked_method(opened, request)
    hints = answer_rows.learn_hints(opened, facts, form)
    said["types"] = ["string" if hint.kind in ("string", "text") else "number" for hint in hints]
    rows = answer_rows.ClientRows(opened, form)
    ask = answering.Asker(opened, rows.form, method)
    items = rows.client_form.get("columns") or [{"name": None}] * len(hints)
    said["seen"] = [_summarize(item["name"], hint) for item, hint in zip(items, hints, strict=False)]
    given = rows.read(request["rows"] or [])
    said["unlike"] = unlike_fit.find_unlike(
        hints, given, [item["name"] for item in items] if items[0]["name"] else None
    )
    rng = random.Random(0)
    if given:
        asked = given
    elif not request["made_up"]:
        return
    elif request["together"]:
        asked = answer_rows.make_up_rows(rows, ask, hints, rng, _CANDIDATES)
    else:
        asked = made_rows.make(rows.client_form, hints, _ALONE, rng, 1.0)
    said["rows"] = rows.write(asked)
    answer_rows.ask_each(ask, rows, asked, said)
    said["null_fails"] = _find_nulls_that_fail(ask, rows, asked, said["answers"])
    asked = [rows.give(row) for row in asked[: len(said["answers"])]]
    said["batch"], said["again"] = answer_rows.ask_again(ask, asked, said["answers"])
    if not request["together"]:
        said["batch"] = []
    finer = _make_finer(rows.form) if opened.kind in ("pickle", "python") else None
    if finer is not None and asked:
        ask_finely = answering.Asker(opened, finer, method)
        if not any(said["answers"]):
            said["takes_float64"] = ask_finely.takes(asked[0])
        elif _loses(asked):
            said["finer"] = _find_finer(ask_finely, asked, said["answers"])


def _give_width(form: dict[str, Any], width: int | None) -> dict[str, Any]:
    """Give one open axis the size that the model says."""
    tensors = form.get("tensors") or []
    if width is None or len(tensors) != 1 or tensors[0]["shape"] != [-1]:
        return form
    return {**form, "tensors": [{**tensors[0], "shape": [width]}]}


def _summarize(name: str | None, hint: Any) -> dict[str, Any]:
    if hint.kind in ("string", "text", "bool"):
        texts = hint.values if len(hint.values) <= _MOST_TEXTS else []
        return {"name": name, "kind": hint.kind, "texts": texts}
    values = [value for value in hint.values if isinstance(value, int | float)]
    ends = {"low": min(values), "high": max(values)} if values else {}
    return {
        "name": name,
        "kind": "number",
        "distinct": len(set(values)),
        "fractions": hint.fractions,
        "whole": hint.whole,
        **ends,
    }


def _find_nulls_that_fail(
    ask: answering.Asker, rows: answer_rows.ClientRows, asked: list[Any], answers: list[list[Any] | None]
) -> list[str]:
    """List the columns, or "" for values of a matrix, that the config lets be missing where the model does not."""
    form = rows.client_form
    good = next((row for row, values in zip(asked, answers, strict=False) if values is not None), None)
    if good is None:
        return []
    if form["form"] == "matrix":
        return [] if not form.get("nullable") or ask.takes([None, *good[1:]]) else [""]
    places = [i for i, item in enumerate(form.get("columns") or ()) if item.get("nullable")][:_MOST_NULLS]
    missing = {place: [None if i == place else value for i, value in enumerate(good)] for place in places}
    return [form["columns"][place]["name"] for place, row in missing.items() if not ask.takes(rows.give(row))]


def _loses(rows: list[Any]) -> bool:
    """Tell whether values of flat rows are others in float32, beyond what is whole there."""
    values = [value for row in rows for value in row if isinstance(value, int | float) and not isinstance(value, bool)]
    array = np.array(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        return bool(((abs(array) > _EXACT) & (array.astype(np.float32) != array)).any())


def _make_finer(form: dict[str, Any]) -> dict[str, Any] | None:
    """Return a form with float64 in the place of float32; None if it has none."""
    if form["form"] == "matrix" and form["dtype"] == "float32":
        return {**form, "dtype": "float64"}
    columns = form.get("columns", [])
    if any(item["dtype"] == "float32" for item in columns):
        finer = [{**item, "dtype": "float64"} if item["dtype"] == "float32" else item for item in columns]
        return {**form, "columns": finer}
    return None


def _find_finer(ask: answering.Asker, rows: list[Any], answers: list[list[Any] | None]) -> list[int]:
    again = answer_rows.ask_each(ask, None, rows)["answers"]
    pairs = enumerate(zip(answers, again, strict=False))
    return [i for i, (one, other) in pairs if one and other and not answer_rows.is_close(one, other)]


@contextlib.contextmanager
def _limit(seconds: float, what: str) -> Iterator[None]:
    """Raise OverTime if the block takes longer; what holds Python's lock is ended from outside."""

    def stop(number: int, frame: object) -> None:
        raise OverTime(f"it took over {seconds:g} s {what}")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
