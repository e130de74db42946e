"""What a model answers, beside what its config promises: outputs, shapes, dtypes, classes and the method."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converter.checking.findings import Finding
from converter.checking.subject import Subject
from converter.repository.tensors import TensorPlan
from converter.schema.fields.class_labels import meaning_of
from converter.schema.model import PICKLES

_MOST_CLASSES = 60
# Where float32 begins to have gaps between whole numbers; and the most that may be lost, in ranges of the answers.
_EXACT = 2.0**24
_MOST_LOST = 1e-4


def check_outputs(subject: Subject) -> Iterator[Finding]:
    """Compare each output's shape and dtype with what the model really answered."""
    found = subject.said.get("outputs")
    if not found:
        if any(answer is not None for answer in subject.answers):
            text = "the model answers with mappings, and arrays are served"
            yield subject.find("output-dtype", "error", ("output",), text, "return an array, or a mapping of arrays")
        return
    picked = pick_outputs(subject, [item["name"] for item in found])
    if picked is None:
        names = [item["name"] for item in found if item["name"]]
        yield subject.find(
            "output-count",
            "error",
            ("output",),
            f"the model answers with {', '.join(names) or len(found)}, and the config has "
            f"{', '.join(plan.tensor.name for plan in subject.outputs)}",
            "write an output for each that is to be served, under its name",
        )
        return
    for i, (place, plan) in enumerate(zip(picked, subject.outputs, strict=True)):
        values = [answer[place] for answer in subject.answers if answer is not None]
        yield from _check_output(subject, i, plan, found[place], values)


def pick_outputs(subject: Subject, names: Sequence[str | None]) -> list[int] | None:
    """Return which of the model's outputs each of the config's is, as the runtime does; None if they do not fit."""
    wanted = [plan.tensor.name for plan in subject.outputs]
    if set(wanted) <= set(names):
        return [names.index(name) for name in wanted]
    named = [name for name in names if name and not name.startswith("output_")]
    return None if named or len(names) != len(wanted) else list(range(len(wanted)))


def _check_output(
    subject: Subject, i: int, plan: TensorPlan, found: Mapping[str, Any], values: list[Any]
) -> Iterator[Finding]:
    dims, shape = plan.tensor.dims, found["shape"]
    if len(dims) != len(shape) or any(size not in (-1, there) for size, there in zip(dims, shape, strict=True)):
        said = f"{_say_method(subject)} gives rows of shape {shape}, and the config says {list(dims)}"
        remedy = f"write shape: {[-1, *shape]}{_suggest_method(subject, shape)}"
        yield subject.find("output-shape", "error", ("output", i, "shape"), said, remedy)
    elif (wrong := _explain_dtype(found["dtype"], plan.tensor.dtype, values)) is not None:
        remedy = f"write dtype: {found['dtype']}{_suggest_method(subject, shape)}"
        said = f"{_say_method(subject)} {wrong}"
        yield subject.find("output-dtype", "error", ("output", i, "dtype"), said, remedy)
    elif (value := _find_coarse(found["dtype"], plan.tensor.dtype, values)) is not None:
        step = np.spacing(np.dtype(plan.tensor.dtype).type(value))
        said = f"answers such as {value:.17g} go to steps of {step:g} in {plan.tensor.dtype}"
        yield subject.find("float32-loses", "warning", ("output", i, "dtype"), said, "write dtype: float64")


def _find_coarse(found: str, wanted: str, values: list[Any]) -> float | None:
    """Return an answer that the config's float cannot hold as finely as answers differ from each other."""
    if found != "float64" or wanted not in ("float32", "float16") or not values:
        return None
    array = np.array(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    lost = np.abs(array.astype(wanted) - array)
    coarse = (np.abs(array) > _EXACT) & (lost > _MOST_LOST * np.ptp(array)) if array.size else array
    return float(array[coarse][0]) if coarse.any() else None


def _say_method(subject: Subject) -> str:
    method = subject.said.get("method", "")
    return "the model" if method in ("", "forward") else method


def _suggest_method(subject: Subject, shape: Sequence[int]) -> str:
    """Suggest another method for a classifier, if that may be what is wanted."""
    methods, method = subject.about.get("methods") or [], subject.said.get("method")
    if method == "predict" and "predict_proba" in methods and subject.about.get("classes"):
        return f" for labels, or method: predict_proba and shape: [-1, {len(subject.about['classes'])}]"
    if method == "predict_proba":
        return f" for the probabilities of its {shape[-1]} classes, or method: predict for labels"
    return ""


def _explain_dtype(found: str, wanted: str, values: list[Any]) -> str | None:
    """Say why an answer cannot be had in the config's dtype, as the runtime (conform.py) has it; None if it can."""
    if found == wanted:
        return None
    if "string" in (found, wanted):
        return f"gives {found}, and the config says {wanted}"
    here, there = np.dtype(found), np.dtype(wanted)
    fits = np.can_cast(here, there, "same_kind")
    if not fits and (here.kind not in "iuf" or there.kind not in "iu"):
        return f"gives {found}, and the config says {wanted}"
    array = np.array([value for value in values if value is not None], dtype=here)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(there)
    if there.kind in "iu" and not np.array_equal(cast, array):
        wrong = array[cast != array].ravel()[0]
        return f"gives {wrong.item()!r}, which {wanted} cannot hold"
    if there.kind == "f" and bool((np.isfinite(array) & ~np.isfinite(cast)).any()):
        return f"gives numbers that are too large for {wanted}"
    return None


def check_labels(subject: Subject) -> Iterator[Finding]:
    """Warn of a classifier whose labels come as floats because nobody wrote another method."""
    output = subject.spec.output[0]
    chosen = subject.spec.model_args.method is None and subject.said.get("method") == "predict"
    asks_floats = len(subject.spec.output) == 1 and output.dtype.startswith("float") and output.row_dims == (1,)
    classes = subject.about.get("classes")
    if subject.spec.backend in PICKLES and chosen and asks_floats and classes:
        if "predict_proba" in subject.about.get("methods", ()):
            other = f"output shape: [-1, {len(classes)}] for the probabilities of its classes"
        else:
            other = "output dtype: int64 for labels"
        yield subject.find(
            "labels-as-floats",
            "warning",
            ("output", 0),
            f"{subject.about['type']} is a classifier, and one float a row is its label as a number, no probability",
            f"write {other}, or model_args.method: predict if labels as floats are meant",
        )


def check_classes(subject: Subject) -> Iterator[Finding]:
    """Compare `classes:` with classes_, in their order, where an answer goes by it."""
    known = subject.about.get("classes")
    if not known or subject.spec.backend not in PICKLES:
        return
    given = list(subject.spec.classes)
    meanings = {meaning_of(item.dtype, item.row_dims, subject.spec.classes) for item in subject.spec.output}
    line = f"classes: {_write_classes(known)}"
    if not given:
        if subject.said.get("method") in ("predict_proba", "decision_function") and len(known) > 1:
            said = "nothing tells clients which class each number of an answer is of"
            yield subject.find("classes-missing", "note", (), said, f"write {line}")
        return
    if _are_same(given, known):
        return
    if len(given) != len(known):
        said = f"there are {len(given)}, and the model has {len(known)}"
    elif "label" in meanings and _are_same(sorted(given, key=str), sorted(known, key=str)):
        return
    elif all(isinstance(label, str) for label in given) and not any(isinstance(label, str) for label in known):
        # Names that the user gives to numbered classes.
        if "index" not in meanings or known == list(range(len(known))):
            return
        said = f"an answer is one of {_write_classes(known)}, and not the place of a class among these"
    else:
        order = _are_same(sorted(given, key=str), sorted(known, key=str))
        said = "the model has them in another order" if order else "the model has others"
    yield subject.find("classes-differ", "error", ("classes",), said, f"write {line}")


def check_graph_classes(subject: Subject) -> Iterator[Finding]:
    """Compare `classes:` with the labels that a graph answers beside the scores: the largest is of the label."""
    given = list(subject.spec.classes)
    found = [item for item in subject.said.get("outputs") or () if item["name"]]
    names = list(subject.said.get("names") or ())
    label = next((item for item in found if item["shape"] == [1] and item["dtype"][:3] in ("int", "str")), None)
    scores = next((item for item in found if item["shape"] == [len(given)] and item["dtype"].startswith("float")), None)
    if subject.spec.backend != "onnx" or len(given) < 2 or label is None or scores is None:
        return
    at, of = names.index(label["name"]), names.index(scores["name"])
    pairs = [(answer[at][0], given[int(np.argmax(answer[of]))]) for answer in subject.answers if answer is not None]
    differ = [(one, other) for one, other in pairs if isinstance(one, str) == isinstance(other, str) and one != other]
    if 2 * len(differ) > len(pairs):
        text = f"where the score of {differ[0][1]!r} is the largest, the graph's label is {differ[0][0]!r}"
        yield subject.find("classes-differ", "error", ("classes",), text, "write them in the order of the scores")


def _are_same(given: Sequence[Any], known: Sequence[Any]) -> bool:
    return len(given) == len(known) and all(
        one == other and isinstance(one, str) == isinstance(other, str) for one, other in zip(given, known, strict=True)
    )


def _write_classes(classes: Sequence[Any]) -> str:
    return json.dumps(classes[:_MOST_CLASSES], ensure_ascii=False) + (" …" if len(classes) > _MOST_CLASSES else "")
