"""Configs that are well written and wrong of the model: shapes, dtypes, names, methods, classes."""

from __future__ import annotations

import json
from typing import Any

from tests.zoo.mistake import Draft, Mistake, edit
from tests.zoo.right_models import array

_ONE_NUMBER = edit(array(3), array(1))
_NAMES = ("area", "rooms", "year")
_COLUMN = "      - {{name: {}, dtype: float64}}\n"
_COLUMNS = "\n    columns:\n" + "".join(_COLUMN.format(name) for name in _NAMES)


def _classes(text: str) -> Any:
    return edit("[setosa, versicolor, virginica]", text)


def _columns(text: str) -> Any:
    return edit(_COLUMNS.rstrip(), text)


def _reorder(*names: str) -> Any:
    return _columns(("\n    columns:\n" + "".join(_COLUMN.format(name) for name in names)).rstrip())


def _no_names(draft: Draft) -> None:
    """Leave the columns away, and send their values in the right order."""
    _columns(array(3))(draft)
    draft.sample([[row[name] for name in _NAMES] for row in draft.right.features], draft.right.answers)


def _rename_tensor(old: str, new: str) -> Any:
    return edit(f"name: {old}", f"name: {new}")


def _swap_tensors(draft: Draft) -> None:
    draft.edit("name: left", "name: other")
    draft.edit("name: right", "name: left")
    draft.edit("name: other", "name: right")


def _positional(draft: Draft) -> None:
    """Leave the names away, as one tensor of both inputs."""
    text = "".join(f"\n    - {{name: {name}, shape: [-1, 2], dtype: float32}}" for name in ("left", "right"))
    draft.edit(text, array(4, "float32"))


_WRONG_WIDTH = r"4 features|n_features_in_|takes 4"
_PROBA = r"\[-1, 3\] for the probabilities|sample is 3 values"
# A classifier's number of a class, for its probability.
_LABELS_AS_FLOATS = edit(array(3), array(1, "float32"))

MISTAKES = [
    Mistake("a feature too many", "flowers", edit("[-1, 4]", "[-1, 5]"), _WRONG_WIDTH),
    Mistake("a feature too few", "flowers", edit("[-1, 4]", "[-1, 3]"), _WRONG_WIDTH),
    Mistake("a feature too few, right sample", "flowers", edit("[-1, 4]", "[-1, 3]"), _WRONG_WIDTH, sample="right"),
    Mistake("one class of three", "flowers", _ONE_NUMBER, r"\b3\b"),
    Mistake("two classes of three", "flowers", edit(array(3), array(2)), r"\b3\b"),
    Mistake("four classes of three", "flowers", edit(array(3), array(4)), r"\b3\b"),
    Mistake("labels as floats", "chances", _LABELS_AS_FLOATS, _PROBA),
    Mistake("labels as floats, right sample", "chances", _LABELS_AS_FLOATS, _PROBA, sample="right"),
    Mistake("labels for probabilities", "forest", edit(array(1, "int64"), array(3, "int64")), "float|predict"),
    Mistake("texts for whole numbers", "species", edit(array(1, "string"), array(1, "int64")), "string"),
    Mistake("numbers for texts", "forest", edit(array(1, "int64"), array(1, "string")), "int64"),
    Mistake("whole numbers for a regressor", "houses", edit(array(1), array(1, "int64")), "float64"),
    Mistake("probabilities of a regressor", "houses",
            edit("model.joblib", "model.joblib\n    method: predict_proba"), "predict"),
    Mistake("the decision of a forest", "forest",
            edit("model.joblib", "model.joblib\n    method: decision_function"), "predict"),
    Mistake("predict for three columns", "flowers", edit("model.joblib", "model.joblib\n    method: predict"),
            "predict_proba|string"),
    Mistake("one output of two", "sums", edit(array(2), array(1)), r"\b2\b"),
    Mistake("three outputs of two", "sums", edit(array(2), array(3)), r"\b2\b"),
    Mistake("texts where numbers go in", "flowers", edit(f"input: {array(4)}", f"input: {array(4, 'string')}"),
            "float|number"),
    Mistake("whole numbers where fractions go in", "flowers",
            edit(f"input: {array(4)}", f"input: {array(4, 'int64')}"), "change the dtype", sample="right"),
    Mistake("int8 for large values", "houses", edit("year, dtype: float64", "year, dtype: int8"), "int|float64"),
    Mistake("float32 for a Unix time", "times", edit(f"input: {array(1)}", f"input: {array(1, 'float32')}"), "float64"),
    Mistake("float32 for a Unix time, right sample", "times",
            edit(f"input: {array(1)}", f"input: {array(1, 'float32')}"), "float64", sample="right"),
    Mistake("float16 for a Unix time", "times", edit(f"input: {array(1)}", f"input: {array(1, 'float16')}"), "float64"),
    Mistake("uint16 for a Unix time", "times", edit(f"input: {array(1)}", f"input: {array(1, 'uint16')}"),
            "float64|int64"),
    Mistake("float32 for an answer that is a time", "moments",
            edit(f"output: {array(1)}", f"output: {array(1, 'float32')}"), "float64"),
    Mistake("yes and no as texts", "members", edit("dtype: bool", "dtype: string"), "bool"),
    Mistake("no names for a model with names", "houses", _columns(array(3)), "columns:"),
    Mistake("no names, right sample", "houses", _no_names, "columns:", sample="right"),
    Mistake("a typo in a column", "houses", edit("name: rooms", "name: romms"), "rooms"),
    Mistake("a column left out", "houses", edit("      - {name: rooms, dtype: float64}\n", ""), "rooms"),
    Mistake("a column too many", "houses",
            edit("    columns:\n", "    columns:\n      - {name: id, dtype: float64}\n"), "id"),
    Mistake("columns in another order", "houses", _reorder("year", "area", "rooms"), "", harmless=True),
    Mistake("columns in another order, right sample", "houses", _reorder("rooms", "year", "area"), "",
            sample="right", harmless=True),
    Mistake("a city as a number", "people", edit("city, dtype: string", "city, dtype: float64"), "string"),
    Mistake("a number as a text", "people", edit("age, dtype: float64", "age, dtype: string"), "float64|number"),
    Mistake("null where the model takes none", "people",
            edit("age, dtype: float64", "age, dtype: float64, nullable: true"), "nullable"),
    Mistake("classes in another order", "flowers", _classes("[virginica, versicolor, setosa]"),
            "classes_|setosa, versicolor, virginica"),
    Mistake("classes in another order, right sample", "flowers", _classes("[virginica, versicolor, setosa]"),
            "classes_|setosa, versicolor, virginica", sample="right"),
    Mistake("a class too few", "flowers", _classes("[setosa, versicolor]"), "list all that the model has"),
    Mistake("a typo in a class", "flowers", _classes("[setosa, versicolour, virginica]"), "versicolor"),
    Mistake("a graph's classes in another order", "graph",
            edit("  output:", "  classes: [2, 1, 0]\n  output:"), "classes"),
    Mistake("texts in a column of one", "moods", edit("[-1]", "[-1, 1]"), r"\[-1\]"),
    Mistake("numbers for texts that go in", "moods", edit("[-1], dtype: string", "[-1, 5], dtype: float64"), "string"),
    Mistake("float64 for a graph of float32", "graph", edit(f"input: {array(4, 'float32')}", f"input: {array(4)}"),
            "float32"),
    Mistake("a graph's width", "graph", edit("[-1, 4]", "[-1, 6]"), r"\b4\b"),
    Mistake("a graph's output by a wrong name", "graph", edit("output: {", "output: {name: probs, "), "probabilities"),
    Mistake("a graph's input by a wrong name", "graph", edit("input: {", "input: {name: features, "), r"\bX\b"),
    Mistake("a graph's probabilities as labels", "graph", edit(array(3, "float32"), array(3, "int64")),
            "float32|FP32|float"),
    Mistake("tensors in another order", "network", _swap_tensors, "", harmless=True),
    Mistake("tensors in another order, right sample", "network", _swap_tensors, "", sample="right", harmless=True),
    Mistake("a tensor by a wrong name", "network", _rename_tensor("left", "lhs"), "left"),
    Mistake("tensors without names", "network", _positional, "left"),
    Mistake("int64 for a network of float32", "network",
            edit("left, shape: [-1, 2], dtype: float32", "left, shape: [-1, 2], dtype: int64"), "float32"),
    Mistake("a network's width", "network", edit(array(1, "float32"), array(2, "float32")), r"\b1\b"),
    Mistake("samples of other rows", "flowers", lambda draft: draft.sample([[1, 2]], [[0.2, 0.3, 0.5]]), r"\b4\b"),
    Mistake("a sample with fewer answers", "flowers",
            lambda draft: draft.sample(draft.right.features, draft.right.answers[:2]), "predictions|rows"),
    Mistake("a sample that is no JSON", "flowers", lambda draft: draft.put("sample.json", json.dumps([1])[:-1]),
            "JSON"),
    Mistake("a sample of another model", "flowers",
            lambda draft: draft.sample(draft.right.features, [[0.2, 0.3, 0.5]] * len(draft.right.answers)),
            "sample.json"),
]  # fmt: skip
