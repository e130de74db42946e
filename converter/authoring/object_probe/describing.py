"""What a fitted object says of itself: its type, what it takes, its classes, its steps; and the form of its input."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from . import CannotTell
from .opening import Opened

_METHODS = ("predict", "predict_proba", "decision_function", "transform")
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_MOST_NAMED = 1000
NO_WIDTH = "it does not say how many features a row has: give some rows with --data, or write --input-shape"


def describe(model: Any) -> dict[str, Any]:
    """Describe an object. Its `width` is the number of features a row has, None if nothing says it."""
    names = find_names(model)
    width, width_from = _find_width(model) if names is None else (len(names), "feature_names_in_")
    guessed = width is None
    if guessed:
        width, width_from = _guess_width(model)
    return {
        "type": type(model).__name__,
        "module": type(model).__module__,
        "versions": _list_versions(model),
        "methods": [name for name in _METHODS if callable(getattr(model, name, None))],
        "names": names,
        "width": width,
        "width_from": width_from,
        "width_guessed": guessed and width is not None,
        "classes": find_classes(model),
        "outputs": getattr(model, "n_outputs_", None) if isinstance(getattr(model, "n_outputs_", None), int) else None,
        "steps": [type(step).__name__ for step in _walk_steps(model)],
    }


def find_names(model: Any) -> list[str] | None:
    """Return the names of the fit; None for a model that was fitted without, or whose library made them up."""
    formula = getattr(getattr(model, "model", None), "formula", None)
    if isinstance(formula, str):
        return _find_variables(model, formula)
    for attribute in ("feature_names_in_", "feature_name_", "feature_names_"):
        # What is not there, or not fitted, is told by errors of many kinds.
        with contextlib.suppress(Exception):
            names = [str(name) for name in getattr(model, attribute)]
            if names and any(name not in (f"Column_{i}", str(i)) for i, name in enumerate(names)):
                return names
    return None


def _find_variables(model: Any, formula: str) -> list[str] | None:
    """Return the columns that a formula of statsmodels takes, of those that it was fitted with."""
    frame = getattr(model.model.data, "frame", None)
    taken = set(re.findall(r"[^\W\d]\w*", formula.partition("~")[2]))
    return None if frame is None else [str(name) for name in frame.columns if str(name) in taken]


def choose_method(opened: Opened, wanted: str | None) -> str:
    """Choose what to ask: probabilities of a classifier that has them, else predict, else transform."""
    if opened.kind in ("onnx", "torchscript"):
        return "forward"
    model = opened.model
    if type(model).__module__.startswith("xgboost") and type(model).__name__ == "Booster":
        raise CannotTell(
            'a Booster of XGBoost takes a DMatrix: save it with save_model("model.json"), and name that file'
        )
    there = [name for name in _METHODS if callable(getattr(model, name, None))]
    if wanted is not None:
        if wanted not in there:
            raise CannotTell(f"a {type(model).__name__} has no method {wanted}, only {', '.join(there)}", "--method")
        return wanted
    if "predict_proba" in there and find_classes(model):
        return "predict_proba"
    for name in ("predict", "transform"):
        if name in there:
            return name
    raise CannotTell(
        f"it is a {type(model).__name__}, which has no method predict: save an object that has one, "
        "or write a Python class around it, and name that (file.py:Name)"
    )


def find_classes(model: Any) -> list[Any] | None:
    """Return the classes of a classifier of one output, in the order of its probabilities."""
    classes = _list_of(getattr(model, "classes_", None))
    if classes is None or any(not isinstance(item, str | int | float | bool) for item in classes):
        return None
    return classes if len(classes) <= _MOST_NAMED else None


def find_form(
    opened: Opened, facts: dict[str, Any], hints: list[Any], data: Any, given: dict[str, Any] | None
) -> dict[str, Any]:
    """Find what one input looks like: text, a matrix, named columns, or the tensors of a graph or of TorchScript."""
    if given is not None:
        return _complete(given)
    if opened.kind == "torchscript":
        return _find_torch_form(opened.model)
    if any(hint.kind == "text" for hint in hints) and len(hints) == 1 and facts["names"] is None:
        return {"form": "text", "from": "its first step reads text"}
    names = facts["names"]
    if facts["width"] is None or (facts["width_guessed"] and data is not None):
        if data is None:
            raise CannotTell(NO_WIDTH, "--input-shape")
        return _form_of_data(data, opened)
    if names is not None:
        return {
            "form": "columns",
            "columns": [{"name": name, **_type_of(hint)} for name, hint in zip(names, hints, strict=True)],
        }
    kinds = {hint.kind for hint in hints}
    if kinds == {"string"}:
        return {"form": "matrix", "dtype": "string", "width": facts["width"]}
    if "string" in kinds or "text" in kinds:
        raise CannotTell(
            "it takes numbers and texts in one array: train it with a DataFrame, so that columns have names"
        )
    return {"form": "matrix", "dtype": "float64", "width": facts["width"]}


def _complete(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "columns": [dict(item) for item in given["columns"]]} if "columns" in given else dict(given)


def _type_of(hint: Any) -> dict[str, Any]:
    if hint.kind in ("string", "text", "category"):
        return {"dtype": "string", "from": hint.origin}
    if hint.kind == "bool":
        return {"dtype": "bool", "from": hint.origin}
    return {"dtype": "int64" if hint.whole else "float64", "from": hint.origin}


def _form_of_data(data: Any, opened: Opened) -> dict[str, Any]:
    """Take the data as they are: texts, a table if they have names and texts, or the model has steps, else numbers."""
    if len(data.names) == 1 and data.dtypes[0] == "string":
        return {"form": "text", "from": "the data"}
    numbers = set(data.dtypes) <= {"int64", "float64"}
    if data.named and (not numbers or any(step is not opened.model for step in _walk_steps(opened.model))):
        columns = [
            {"name": name, "dtype": dtype, "from": "the data"}
            for name, dtype in zip(data.names, data.dtypes, strict=True)
        ]
        return {"form": "columns", "columns": columns}
    if numbers:
        return {"form": "matrix", "dtype": "float64", "width": len(data.names), "from": "the width of the data"}
    raise CannotTell(
        "it does not say which columns it takes, and the data have texts in them and no names: give data with names",
        "--data",
    )


def _find_width(model: Any) -> tuple[int | None, str]:
    for name in ("n_features_in_", "n_features_", "num_feature", "feature_names_"):
        value = getattr(model, name, None)
        value = value() if callable(value) else len(value) if isinstance(value, list) else value
        if isinstance(value, int) and value > 0:
            return value, name
    exog = getattr(getattr(model, "model", None), "exog", None)
    if exog is not None and getattr(exog, "ndim", 0) == 2:
        return int(exog.shape[1]), "exog"
    if hasattr(model, "X_thresholds_"):
        return 1, "X_thresholds_ of one feature"
    inner = next((step for step in _walk_steps(model) if step is not model), None)
    if inner is not None:
        return _find_width(inner)
    coef: Any = getattr(model, "coef_", None)
    return (int(coef.shape[-1]), "coef_") if getattr(coef, "ndim", 0) in (1, 2) else (None, "")


def _guess_width(model: Any) -> tuple[int | None, str]:
    """Guess that a step which does not say what it takes, as those of one's own, takes as many as the next one."""
    for step in _walk_steps(model):
        width, origin = _find_width(step) if step is not model else (None, "")
        if width is not None:
            return width, f"{origin} of {type(step).__name__}"
    return None, ""


def _walk_steps(model: Any) -> Iterator[Any]:
    steps = getattr(model, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[0], tuple):
        for _, step in steps:
            if step is not None and not isinstance(step, str):
                yield step
    elif (inner := getattr(model, "best_estimator_", None)) is not None:
        yield from _walk_steps(inner)


def _list_of(value: Any) -> list[Any] | None:
    if isinstance(value, list):
        return value
    return value.tolist() if getattr(value, "ndim", 0) == 1 else None


def _list_versions(model: Any) -> dict[str, str]:
    """List the libraries that an object is made of, with their versions here."""
    tops = {kind.__module__.split(".")[0] for part in (model, *_walk_steps(model)) for kind in type(part).__mro__}
    found = {"python": "{}.{}.{}".format(*sys.version_info[:3])}
    for top in sorted({*tops, "numpy"}):
        try:
            found[_DISTRIBUTIONS.get(top, top)] = metadata.version(_DISTRIBUTIONS.get(top, top))
        except metadata.PackageNotFoundError:
            continue
    return found


def _find_torch_form(module: Any) -> dict[str, Any]:
    """Guess the one input of TorchScript from its first weights, where they leave no choice."""
    arguments = [item.name for item in module.forward.schema.arguments[1:]]
    first = next((value for value in module.state_dict().values() if value.dim() > 0), None)
    if len(arguments) != 1 or first is None or first.dim() != 2 or not first.is_floating_point():
        options = (
            " ".join(f"--input-shape {name}=…" for name in arguments)
            if len(arguments) > 1
            else "--input-shape 3,224,224"
        )
        raise CannotTell(
            f"TorchScript does not say what shape its inputs have: write that of one row, as in {options}",
            "--input-shape",
        )
    tensor = {"name": arguments[0], "dtype": str(first.dtype).removeprefix("torch."), "shape": [int(first.shape[1])]}
    return {"form": "tensors", "tensors": [tensor], "from": "the shape of its first weights"}
