"""Values beside the dtypes that the config gives them: those of the sample, and those that the model has seen."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.checking.findings import Finding, Severity
from converter.checking.subject import Key, Subject
from converter.schema import dtypes

# Beyond these, whole numbers are not all to be had in a float of this dtype.
_EXACT = {"float32": 2**24, "float16": 2**11}


@dataclass(frozen=True)
class _Feature:
    """A value of a row: the key of its dtype, its values in rows that were asked, and what the model has seen."""

    key: Key
    name: str
    dtype: str
    values: list[Any]
    kind: str = ""
    low: float = 0
    high: float = 0
    fractions: bool = False
    whole: bool = False
    distinct: int = 0

    @property
    def is_known(self) -> bool:
        """Whether the model tells anything of it."""
        return self.distinct > 0 or self.kind in ("string", "text", "bool")


def _list_features(subject: Subject) -> Iterator[_Feature]:
    seen = list(subject.said.get("seen") or ())
    rows, form = subject.rows, subject.form.get("form")
    if form in ("columns", "matrix"):
        # Others are said to be wrong (check_sample_values).
        rows = [row for row in rows if len(row) == _count_values(subject)]
    if form == "columns":
        known = {item["name"]: item for item in seen}
        single = bool(subject.spec.input[0].columns)
        for i, column in enumerate(subject.spec.columns):
            key: Key = ("input", 0, "columns", i, "dtype") if single else ("input", i, "dtype")
            hint = {name: value for name, value in known.get(column.name, {}).items() if name not in ("name", "texts")}
            yield _Feature(key, column.name, column.dtype, [row[i] for row in rows], **hint)
    elif form == "matrix":
        for i in range(int(subject.form["width"])):
            hint = seen[i] if len(seen) == subject.form["width"] else {}
            hint = {name: value for name, value in hint.items() if name not in ("name", "texts")}
            values = [row[i] for row in rows]
            yield _Feature(("input", 0, "dtype"), f"value {i} of a row", subject.spec.input[0].dtype, values, **hint)
    elif form == "tensors":
        for i, tensor in enumerate(subject.spec.input):
            values = [value for row in rows for value in _flatten(row[i])]
            yield _Feature(("input", i, "dtype"), tensor.name or "it", tensor.dtype, values)


def _count_values(subject: Subject) -> int:
    return len(subject.spec.columns) or int(subject.form["width"])


def _flatten(value: Any) -> list[Any]:
    return [item for inner in value for item in _flatten(inner)] if isinstance(value, list) else [value]


def check_dtypes(subject: Subject) -> Iterator[Finding]:
    """Find a dtype that is of another kind than what the model has seen, or cannot hold it; the first of an input."""
    told: set[Key] = set()
    for feature in _list_features(subject):
        if feature.is_known and feature.key not in told and (wrong := _explain_dtype(feature)):
            told.add(feature.key)
            code, said, remedy = wrong
            severity: Severity = "error" if code == "dtype-differs" else "warning"
            yield subject.find(code, severity, feature.key, f"{feature.name} {said}", f"write dtype: {remedy}")


def _explain_dtype(feature: _Feature) -> tuple[str, str, str] | None:
    """Return the code, what is wrong and the dtype to write; None if nothing is."""
    json_kind = dtypes.by_name(feature.dtype).json
    if feature.kind in ("string", "text"):
        return None if json_kind == "string" else ("dtype-differs", "was text in the fit", "string")
    if json_kind == "string":
        if feature.kind == "bool":
            return "dtype-differs", "was true or false in the fit", "bool"
        return "dtype-differs", "was a number in the fit", "int64" if feature.whole else "float64"
    if json_kind != "integer" or feature.kind == "bool":
        return None
    limits = np.iinfo(feature.dtype)
    if feature.low < limits.min or feature.high > limits.max:
        span = f"{feature.low:g} to {feature.high:g}"
        return "dtype-narrow", f"was {span} in the fit, which {feature.dtype} does not hold", "float64"
    spread = feature.high - feature.low
    if feature.fractions or (0 < spread < 1 and feature.low != round(feature.low)):
        return "dtype-narrow", f"was a fraction in the fit, and {feature.dtype} takes whole numbers alone", "float64"
    return None


def check_precision(subject: Subject) -> Iterator[Finding]:
    """Find values that the input's float dtype cannot hold, where the model has seen such or the sample has them."""
    differing = list(subject.said.get("finer") or ())
    for feature in _list_features(subject):
        most = _EXACT.get(feature.dtype)
        if most is None:
            continue
        lossy = [value for value in feature.values if _loses(value, feature.dtype, most)]
        # A threshold between large numbers tells that there are large ones.
        learnt = [end for end in (feature.low, feature.high) if abs(end) > most]
        if not lossy and not learnt:
            continue
        value = lossy[0] if lossy else learnt[0]
        with np.errstate(over="ignore", invalid="ignore"):
            step = np.spacing(np.dtype(feature.dtype).type(abs(value)))
        which = (
            f"takes to steps of {step:g}" if np.isfinite(step) else f"ends before, at {np.finfo(feature.dtype).max:g}"
        )
        effect = f", and row {differing[0]} has another answer in float64" if differing else ""
        graph = ", and export the graph with a double input" if subject.spec.backend == "onnx" else ""
        text = f"{feature.name} has values such as {value:.17g}, which {feature.dtype} {which}{effect}"
        severity: Severity = "error" if differing else "warning"
        yield subject.find("float32-loses", severity, feature.key, text, f"write dtype: float64{graph}")
        return


def _loses(value: Any, dtype: str, most: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) <= most:
        return False
    with np.errstate(over="ignore"):
        return bool(float(np.dtype(dtype).type(value)) != value)


def check_nulls(subject: Subject) -> Iterator[Finding]:
    """Find values that may be missing by the config, where the model has no answer then."""
    for name in subject.said.get("null_fails") or ():
        columns = [item.name for item in subject.spec.columns]
        if not name or name not in columns:
            key: Key = ("input", 0, "nullable")
        else:
            at = columns.index(name)
            key = (
                ("input", 0, "columns", at, "nullable") if subject.spec.input[0].columns else ("input", at, "nullable")
            )
        text = f"the model has no answer where {name or 'a value'} is missing"
        yield subject.find("null-fails", "warning", key, text, "remove nullable, or put an imputer before the model")


def check_sample_values(subject: Subject) -> Iterator[Finding]:
    """Find values of the sample that a client could not send either."""
    if subject.sample is None:
        return
    if subject.form.get("form") in ("columns", "matrix"):
        width = _count_values(subject)
        other = next((i for i, row in enumerate(subject.given) if len(row) != width), None)
        if other is not None:
            text = f"row {other} has {len(subject.given[other])} values, and the config's input has {width}"
            yield subject.find_in_sample("sample-unfit", "error", "features", text, "write rows as clients send them")
            return
    for feature in _list_features(subject):
        wrong = next((said for value in feature.values if (said := _explain_unfit(value, feature.dtype))), None)
        if wrong is not None:
            remedy = "change the dtype in the config, or the sample"
            yield subject.find_in_sample("sample-unfit", "error", "features", f"{feature.name}: {wrong}", remedy)
            return


def _explain_unfit(value: Any, dtype: str) -> str | None:
    kind = dtypes.by_name(dtype).json
    if value is None:
        return None
    if (kind == "string") != isinstance(value, str) or (kind == "boolean") != isinstance(value, bool):
        return f"{json.dumps(value)[:60]} is no {kind}, which the config's {dtype} takes"
    if kind != "integer":
        return None
    if float(value) != math.floor(value):
        return f"{value:g} is not whole, and the config's dtype is {dtype}"
    limits = np.iinfo(dtype)
    return None if limits.min <= value <= limits.max else f"{value} is more than {dtype} holds"


def check_likeness(subject: Subject) -> Iterator[Finding]:
    """Warn where the sample is unlike what the model has seen: a scaler that is not in the file looks so."""
    unlike = subject.said.get("unlike")
    if unlike and subject.sample is not None:
        remedy = "if rows are scaled or encoded before the model, save a pipeline that does that too, or send such rows"
        yield subject.find_in_sample("unlike-fit", "warning", "features", str(unlike), remedy)
