"""The JSON Schemas of what one model takes and answers, made from its entry in the manifest."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from converter.schema import dtypes
from converter.schema.fields.class_labels import Label, Meaning, key_of, meaning_of
from converter.schema.fields.column_spec import ColumnSpec
from converter.schema.manifest import ModelEntry, Tensor

Schema = dict[str, Any]
# More names of one object are nobody's reading, and a large part of the document.
_MOST_NAMES = 1000
# A generated class has these itself, or needs them to be made.
_TAKEN = frozenset({"todict", "fromdict", "additionalproperties", "additionalkeys", "fielddict", "srcdict", "cls", "d"})
_FORMATS = {"float32": "float", "float64": "double", "int32": "int32", "int64": "int64"}
_LABEL_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def value_schema(dtype: str, nullable: bool = False) -> Schema:
    """Return the schema of one value; `nullable` if null may stand in its place."""
    item = dtypes.by_name(dtype)
    schema: Schema = {"type": [item.json, "null"] if nullable else item.json}
    if item.name in _FORMATS:
        schema["format"] = _FORMATS[item.name]
    if item.json == "integer":
        bits = dtypes.byte_size(item.name) * 8
        signed = item.name.startswith("int")
        # JSON's readers have no more than 53 bits.
        if bits < 64:
            schema["minimum"] = -(2 ** (bits - 1)) if signed else 0
            schema["maximum"] = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        elif not signed:
            schema["minimum"] = 0
    return schema


def squash(name: str) -> str:
    """Return what is left of a name in generated code at the least: its letters and digits, all small."""
    kept = "".join(sign for sign in name if sign != "_" and (sign.isidentifier() or sign.isdecimal()))
    # As Python reads names.
    return unicodedata.normalize("NFKC", kept).casefold()


def object_schema(named: Iterable[tuple[str, Schema]]) -> Schema:
    """Return the schema of an object that has each of these names, and no others.

    Names that generated code could not tell apart, or could not have, are a list of allowed keys: then clients have a
    dictionary where they would have a class.
    """
    properties = dict(named)
    kept = {squash(name) for name in properties}
    if len(properties) > _MOST_NAMES:
        return {"type": "object", "minProperties": len(properties), "maxProperties": len(properties)}
    if len(kept) == len(properties) and "" not in kept and not kept & _TAKEN:
        return {
            "type": "object",
            "required": list(properties),
            "properties": properties,
            "additionalProperties": False,
        }
    kinds = [schema for i, schema in enumerate(properties.values()) if schema not in list(properties.values())[:i]]
    return {
        "type": "object",
        "required": list(properties),
        "propertyNames": {"enum": list(properties)},
        "additionalProperties": kinds[0] if len(kinds) == 1 else {"anyOf": kinds},
    }


def record_schema(columns: Sequence[ColumnSpec]) -> Schema:
    """Return the schema of one row of a model with columns."""
    return object_schema((column.name, value_schema(column.dtype, column.nullable)) for column in columns)


def features_schema(entry: ModelEntry, record: Schema, one_row: bool) -> Schema:
    """Return the schema of `features` in the plainest of its forms; `record` is that of a row with columns."""
    if entry.columns:
        return _rows(record, one_row)
    lists = {
        tensor.name: _rows(_row(value_schema(spec.dtype, spec.nullable), () if spec.is_text else tensor.dims), one_row)
        for spec, tensor in zip(entry.spec.input, entry.inputs, strict=True)
    }
    return next(iter(lists.values())) if len(lists) == 1 else object_schema(lists.items())


def predictions_schema(entry: ModelEntry, labels: dict[str, Schema]) -> Schema:
    """Return the schema of `predictions`; `labels` has that of a row of each output that has the names of classes."""
    lists = {}
    for tensor in entry.outputs:
        row = labels.get(tensor.name)
        lists[tensor.name] = _rows(_row(_output_value(entry, tensor), tensor.dims) if row is None else row, False)
    return next(iter(lists.values())) if len(lists) == 1 else object_schema(lists.items())


def label_schemas(entry: ModelEntry) -> dict[str, Schema]:
    """Return the schema of a row with labels=true, for each output whose classes the config names."""
    found = {}
    for tensor in entry.outputs:
        meaning = meaning_of(tensor.dtype, tensor.dims, entry.spec.classes) if entry.spec.classes else None
        if meaning is not None:
            found[tensor.name] = _label(meaning, _output_value(entry, tensor), entry.spec.classes)
    return found


def _output_value(entry: ModelEntry, tensor: Tensor) -> Schema:
    number = dtypes.by_name(tensor.dtype).json == "number"
    return value_schema(tensor.dtype, number and entry.spec.non_finite is None)


def _label(meaning: Meaning, value: Schema, classes: Sequence[Label]) -> Schema:
    if meaning == "scores":
        return object_schema((key_of(label), value) for label in classes)
    if meaning == "index":
        types = sorted({_LABEL_TYPES[type(label)] for label in classes})
        value = {"type": types[0] if len(types) == 1 else types}
    return {"type": "object", "required": ["label"], "properties": {"label": value}, "additionalProperties": False}


def _rows(row: Schema, one_row: bool) -> Schema:
    schema: Schema = {"type": "array", "minItems": 1, "items": row}
    if one_row:
        schema["maxItems"] = 1
    return schema


def _row(item: Schema, dims: Sequence[int]) -> Schema:
    """Return the schema of nested lists of these sizes; -1 is any but none."""
    for size in reversed(dims):
        bounds = {"minItems": 1} if size == -1 else {"minItems": size, "maxItems": size}
        item = {"type": "array", **bounds, "items": item}
    return item
