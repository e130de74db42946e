"""The labels of a classifier's classes, and what they mean for each output."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, StrictBool, StrictFloat, StrictInt, StrictStr

from converter.schema import dtypes

Label = StrictBool | StrictInt | StrictFloat | StrictStr
# What an output of a classifier has in a row: a number for each class, the label of one, or its place among them.
Meaning = Literal["scores", "label", "index"]


def key_of(label: Label) -> str:
    """Return the key that a class has in an object of JSON."""
    return label if isinstance(label, str) else json.dumps(label)


def _each_once(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    keys = [key_of(label) for label in labels]
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice is not None:
        raise ValueError(f"the class {twice} stands here twice: keep one, since answers name classes by their text")
    return labels


Classes = Annotated[tuple[Label, ...], AfterValidator(_each_once)]


def meaning_of(dtype: str, row_dims: tuple[int, ...], classes: tuple[Label, ...]) -> Meaning | None:
    """Say what an output of this form means with these classes; None if they do not go together."""
    kind = dtypes.by_name(dtype).json
    if kind == "number" and row_dims == (len(classes),) and len(classes) > 1:
        return "scores"
    if row_dims != (1,):
        return None
    types = {type(label) for label in classes}
    wanted = {"string": str, "integer": int, "boolean": bool, "number": float}[kind]
    if types == {wanted}:
        return "label"
    return "index" if kind == "integer" else None
