"""Our answers as KServe V1 and MLflow have them: flat if one value wide, an object a row for several outputs."""

from __future__ import annotations

from typing import Any

import orjson

from converter.schema.manifest import ModelEntry


def write_predictions(content: bytes, entry: ModelEntry, labels: bool) -> bytes:
    """Return the body of an answer: `{"predictions": …}`, from that of a 200 of ours.

    `labels`: its rows may be objects by class.
    """
    head = b'{"model":%b,' % orjson.dumps(entry.name)
    first, *others = entry.outputs
    if not others and not labels:
        if tuple(first.dims) != (1,):
            return b"{" + content[len(head) :]
        if first.dtype != "string":
            # Numbers and booleans have none of these characters.
            return b"{" + content[len(head) :].replace(b"],[", b",").replace(b"[[", b"[").replace(b"]]", b"]")
    rows: Any = orjson.loads(content)["predictions"]
    if not others:
        return orjson.dumps({"predictions": _flat(rows)})
    columns = [_flat(rows[tensor.name]) for tensor in entry.outputs]
    names = [tensor.name for tensor in entry.outputs]
    return orjson.dumps({"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]})


def _flat(rows: list[Any]) -> list[Any]:
    """Return rows of one value each as these values, and others as they are."""
    return [row[0] for row in rows] if all(isinstance(row, list) and len(row) == 1 for row in rows) else rows
