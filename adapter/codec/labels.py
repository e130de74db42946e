"""The rows of an answer under the names of classes, for who asks with `?labels=true`; the plain answer stays quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson

from adapter.codec.encode import Texts
from adapter.errors import BadModelOutput
from converter.schema.fields.class_labels import Label, key_of, meaning_of
from converter.schema.manifest import ModelEntry


class LabelsWriter:
    """Name the classes in the answers of one model, whose config has them."""

    def __init__(self, entry: ModelEntry) -> None:
        classes = entry.spec.classes
        keys = [key_of(label) for label in classes]
        ways: dict[str | None, Callable[[Any], Any]] = {
            "scores": lambda row: dict(zip(keys, row, strict=True)),
            "label": lambda row: {"label": row[0]},
            "index": partial(_look_up, classes),
            None: lambda row: row,
        }
        self._ways = [ways[meaning_of(tensor.dtype, tensor.dims, classes)] for tensor in entry.outputs]

    def label(self, parts: Sequence[Texts]) -> list[Texts]:
        """Return the rows of an answer, each an object by class; those of an output without classes as they are.

        Raises: BadModelOutput if an index is that of no class.
        """
        return [tuple(map(_relabel, self._ways, part)) for part in parts]


def _relabel(way: Callable[[Any], Any], text: bytes) -> bytes:
    rows = orjson.loads(b"[" + text + b"]")
    return orjson.dumps([way(row) for row in rows])[1:-1]


def _look_up(classes: Sequence[Label], row: Sequence[int]) -> dict[str, Label]:
    if not 0 <= row[0] < len(classes):
        raise BadModelOutput("The model's answer is not what its config promises.", f"no class has the index {row[0]}")
    return {"label": classes[row[0]]}
