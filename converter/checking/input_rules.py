"""What a model takes, beside what its config says that it gets: features, their names and their dtypes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converter.checking.findings import Finding
from converter.checking.subject import Key, Subject
from converter.schema import dtypes
from converter.schema.model import PICKLES, nearest

_INPUT: Key = ("input",)
_MOST_NAMED = 60
# What a trace calls the arguments of a forward that takes `*inputs`, as the runtime has it (torch_arguments.py).
_NAMELESS = re.compile(r"argument_\d+")
# Beyond these, whole numbers are not all to be had in a float of this dtype.
_EXACT = {"float32": 2**24, "float16": 2**11}


def check_names(subject: Subject) -> Iterator[Finding]:
    """Compare names and number of features with those of the fit."""
    fitted, width = subject.said.get("fitted"), subject.about.get("width")
    columns = [item.name for item in subject.spec.columns]
    if subject.spec.backend not in PICKLES:
        return
    if fitted and columns:
        yield from _compare_columns(subject, columns, fitted)
    elif fitted:
        yield subject.find(
            "columns-missing",
            "error",
            (*_INPUT, 0),
            f"the model was fitted with names ({_list(fitted)}), and without them it takes values by their place alone",
            f"put this in the place of shape and dtype: {_write_columns(subject, fitted)}",
        )
    elif isinstance(width, int) and subject.form.get("form") in ("matrix", "columns", "tensors"):
        yield from _compare_width(subject, columns, width)


def _compare_columns(subject: Subject, columns: list[str], fitted: list[str]) -> Iterator[Finding]:
    missing = [name for name in fitted if name not in columns]
    unknown = [name for name in columns if name not in fitted]
    if unknown:
        yield subject.find(
            "columns-differ",
            "error",
            _key_of_columns(subject),
            f"the model was not fitted with {_list(unknown)}{nearest(unknown[0], missing)}",
            f"write the names of the fit: {_list(fitted)}",
        )
    elif missing:
        yield subject.find(
            "columns-differ",
            "error",
            _key_of_columns(subject),
            f"the model was also fitted with {_list(missing)}",
            f"add {', '.join(f'{{name: {json.dumps(name)}, dtype: float64}}' for name in missing[:_MOST_NAMED])}, "
            "with the dtype of the fit",
        )


def _compare_width(subject: Subject, columns: list[str], width: int) -> Iterator[Finding]:
    first = subject.spec.input[0]
    if columns:
        given, key, remedy = len(columns), _key_of_columns(subject), "name all, in the order of the fit"
    elif len(first.row_dims) == 1 and not first.is_text:
        given, key, remedy = first.row_dims[0], (*_INPUT, 0, "shape"), f"write shape: [-1, {width}]"
    else:
        return
    if given not in (-1, width):
        said = f"the model takes {width} features a row ({subject.about['width_from']}), and the config has {given}"
        yield subject.find("features-count", "error", key, said, remedy)


def _key_of_columns(subject: Subject) -> Key:
    return (*_INPUT, 0, "columns") if subject.spec.input[0].columns else _INPUT


def _write_columns(subject: Subject, fitted: list[str]) -> str:
    """Write the lines to paste, on one: numbers keep the dtype that the config has for all."""
    usual = subject.spec.input[0].dtype
    number = "float64" if usual == "string" else usual
    types = subject.said.get("types") or []
    kinds = types if len(types) == len(fitted) else ["number"] * len(fitted)
    items = [
        f"{{name: {json.dumps(name, ensure_ascii=False)}, dtype: {'string' if kind == 'string' else number}}}"
        for name, kind in zip(fitted, kinds, strict=True)
    ]
    return f"columns: [{', '.join(items)}]"


def _list(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def check_arguments(subject: Subject) -> Iterator[Finding]:
    """Compare the inputs with the arguments of a TorchScript module's forward."""
    arguments = subject.said.get("arguments")
    if arguments is None:
        return
    taken, needed = [name for name, _ in arguments], {name for name, optional in arguments if not optional}
    given = [item.name or "" for item in subject.spec.input]
    nameless = bool(taken) and all(_NAMELESS.fullmatch(name) for name in taken)
    if len(given) == 1 or nameless:
        fits = len(needed) <= len(given) <= len(taken)
    else:
        fits = needed <= set(given) <= set(taken)
    if not fits:
        yield subject.find(
            "arguments-differ",
            "error",
            _INPUT,
            f"forward takes {', '.join(taken) or 'nothing'}, and the config has {', '.join(filter(None, given)) or 1}",
            "write an input for each argument, under its name",
        )


def check_precision(subject: Subject) -> Iterator[Finding]:
    """Find values that the input's float dtype cannot hold, where the model has seen such or the sample has them."""
    differing = list(subject.said.get("finer") or ())
    for key, dtype, values, seen in _list_features(subject):
        most = _EXACT.get(dtype)
        if most is None:
            continue
        lossy = [value for value in values if _loses(value, dtype, most)]
        # A threshold between large numbers tells that there are large ones.
        learnt = [seen[end] for end in ("low", "high") if abs(seen.get(end, 0)) > most]
        if not lossy and not learnt:
            continue
        value = lossy[0] if lossy else learnt[0]
        about = (
            f"{seen['name']} has values such as {value:.17g}" if seen.get("name") else f"values such as {value:.17g}"
        )
        effect = f", and row {differing[0]} has another answer in float64" if differing else ""
        finer = "float64" if subject.spec.backend != "onnx" else "float64, and export the graph with a double input"
        yield subject.find(
            "float32-loses",
            "error" if differing else "warning",
            key,
            f"{about}, which {dtype} takes to steps of {np.spacing(np.dtype(dtype).type(abs(value))):g}{effect}",
            f"write dtype: {finer}",
        )
        return


def _loses(value: Any, dtype: str, most: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) <= most:
        return False
    with np.errstate(over="ignore"):
        return bool(float(np.dtype(dtype).type(value)) != value)


def _list_features(subject: Subject) -> Iterator[tuple[Key, str, list[Any], Mapping[str, Any]]]:
    """List the numbers of a row: key of the dtype, dtype, values of the rows that were asked, and those of the fit."""
    seen = list(subject.said.get("seen") or ())
    rows, form = subject.rows, subject.form.get("form")
    if form == "columns":
        known = {item["name"]: item for item in seen}
        single = bool(subject.spec.input[0].columns)
        for i, column in enumerate(subject.spec.columns):
            key: Key = (*_INPUT, 0, "columns", i, "dtype") if single else (*_INPUT, i, "dtype")
            yield key, column.dtype, [row[i] for row in rows], known.get(column.name, {"name": column.name})
    elif form == "matrix":
        for i in range(int(subject.form["width"])):
            hint = seen[i] if len(seen) == subject.form["width"] else {}
            name = {"name": f"value {i} of a row"}
            yield (*_INPUT, 0, "dtype"), subject.spec.input[0].dtype, [row[i] for row in rows], {**hint, **name}
    elif form == "tensors":
        for i, tensor in enumerate(subject.spec.input):
            values = [value for row in rows for value in _flatten(row[i])]
            yield (*_INPUT, i, "dtype"), tensor.dtype, values, {}


def _flatten(value: Any) -> list[Any]:
    return [item for inner in value for item in _flatten(inner)] if isinstance(value, list) else [value]


def check_sample_values(subject: Subject) -> Iterator[Finding]:
    """Find values of the sample that a client could not send either."""
    if subject.sample is None:
        return
    for _, dtype, values, seen in _list_features(subject):
        wrong = next((said for value in values if (said := _explain_unfit(value, dtype))), None)
        if wrong is not None:
            which = f"{seen['name']}: " if seen.get("name") else ""
            yield subject.find_in_sample(
                "sample-unfit", "error", "features", f"{which}{wrong}", "change the dtype in the config, or the sample"
            )
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
    if subject.sample is None or len(subject.rows) < 2:
        return
    known = []
    for _, _, values, seen in _list_features(subject):
        numbers = [value for value in values if _is_number(value)]
        if seen.get("distinct", 0) > 1 and numbers:
            known.append((seen, numbers))
    far = [(seen, values) for seen, values in known if _is_far(seen, values)]
    beside = [(seen, values) for seen, values in known if min(values) > seen["high"] or max(values) < seen["low"]]
    suspicious = far or (beside if len(beside) > 1 and len(beside) * 2 > len(known) else [])
    if not suspicious:
        return
    seen, values = suspicious[0]
    yield subject.find_in_sample(
        "unlike-fit",
        "warning",
        "features",
        f"{len(suspicious)} of {len(known)} features are far from what the model has seen: {seen['name']} is "
        f"{min(values):g} to {max(values):g} here, and {seen['low']:g} to {seen['high']:g} in the model",
        "if rows are scaled or encoded before the model, save a pipeline that does that too, or send such rows",
    )


def _is_far(seen: Mapping[str, Any], values: list[Any]) -> bool:
    spread = seen["high"] - seen["low"]
    return bool(min(values) > seen["high"] + spread or max(values) < seen["low"] - spread)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
