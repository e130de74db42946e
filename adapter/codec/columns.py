"""The JSON body of a request → the tensors of a model that takes columns by name, whichever way they are written.

`features` is rows in the config's order, records, columns, one flat row or one bare record. What it is, its first
characters tell; then msgspec reads it as that. Columns cross as one tensor for each dtype.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from types import GenericAlias
from typing import Any

import msgspec

from adapter.codec import duplicate_keys
from adapter.codec.body_errors import check_syntax, check_utf8, malformed, name_kind, short
from adapter.codec.decode import LARGE_BYTES, SCALARS, Features, RowsOfTensors, without_collections
from adapter.codec.input_tensor import InputTensor
from adapter.errors import BadFeatures, MalformedJson
from converter.schema.fields.column_spec import ColumnSpec, suggest_column
from converter.schema.manifest import ModelEntry, Tensor

# The start of features in each form; what follows the first key of an object says whether that is a list.
_ROWS = re.compile(rb"\[\s*\[")
_RECORDS = re.compile(rb"\[\s*\{")
_LISTS = re.compile(rb'\{\s*"[^"\\]*(?:\\.[^"\\]*)*"\s*:\s*\[(\s*\[)?')
_EMPTY = re.compile(rb"\[\s*\]")
# Where msgspec says that a complaint is: in a row, a record or a column, or in the only row.
_IN_ROW = re.compile(r"\$\[(\d+)\](?:\[(\d+)\]|\.(.+))?", re.DOTALL)
_IN_COLUMN = re.compile(r"\$\.(.+?)(?:\[(\d+)\](?:\[\d+\])?)?", re.DOTALL)
_IN_FLAT_ROW = re.compile(r"\$\[(\d+)\]")
# An integer may be written 1.0.
_TYPES = {**SCALARS, "integer": int | float}


class _Body(msgspec.Struct):
    features: msgspec.Raw


class ColumnsParser(RowsOfTensors):
    """Read the requests of one model with columns."""

    def __init__(self, entry: ModelEntry) -> None:
        self._columns = entry.columns
        self._names = [column.name for column in entry.columns]
        of_tensors = [_indices_of(tensor, entry.columns) for tensor in entry.inputs]
        super().__init__(
            entry, [_describe(tensor, entry.columns, of) for tensor, of in zip(entry.inputs, of_tensors, strict=True)]
        )
        # All columns are one tensor: its rows are as they were sent.
        self._pickers = None if len(of_tensors) == 1 else [_picker(indices) for indices in of_tensors]
        types = [_type_of(column) for column in entry.columns]
        self._body = msgspec.json.Decoder(_Body)
        row, record = GenericAlias(tuple, tuple(types)), self._object("Record", types)
        self._rows = msgspec.json.Decoder(_list_of(row))
        self._row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)
        self._records = msgspec.json.Decoder(_list_of(record))
        self._record = msgspec.json.Decoder(record)
        self._lists = msgspec.json.Decoder(self._object("Columns", map(_list_of, types)))
        # As several inputs are written: each a list of rows of one value.
        boxed = [_list_of(GenericAlias(tuple, (item,))) for item in types]
        self._boxed = msgspec.json.Decoder(self._object("Inputs", boxed))

    def parse(self, body: bytes) -> Features:
        """Return the rows of a request, as RowsOfTensors says."""
        if len(body) > LARGE_BYTES:
            with without_collections():
                return self._parse(body)
        return self._parse(body)

    def as_sent(self, features: Sequence[Sequence[Any]]) -> Any:
        """Return rows as records."""
        return [self._record_of(parts) for parts in zip(*features, strict=True)]

    def most_bytes_of_a_row(self) -> int | None:
        """Return the most bytes of a body of one row, however it is written: as a record it has the names."""
        values = super().most_bytes_of_a_row()
        # A character takes up to two escapes of six bytes.
        return values and values + sum(12 * len(name) for name in self._names)

    def _record_of(self, parts: Sequence[Sequence[Any]]) -> dict[str, Any]:
        of_dtype = {tensor.dtype: iter(part) for tensor, part in zip(self._inputs, parts, strict=True)}
        record = {column.name: next(of_dtype[column.wire_dtype]) for column in self._columns}
        for column in self._columns:
            if column.kind == "integer" and record[column.name] is not None:
                record[column.name] = int(record[column.name])
        return record

    def _object(self, name: str, types: Iterable[Any]) -> Any:
        fields = [(f"column_{i}", kind) for i, kind in enumerate(types)]
        names = {f"column_{i}": column for i, column in enumerate(self._names)}
        return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, gc=False)

    def _parse(self, body: bytes) -> Features:
        if not body.isascii():
            body = check_utf8(body)
        try:
            features = memoryview(self._body.decode(body).features)
        except msgspec.ValidationError as error:
            check_syntax(body)
            raise _not_the_body(str(error)) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(error) from error
        try:
            rows, keys = self._read(features)
        except msgspec.ValidationError as error:
            complaint = str(error)
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(error) from error
        else:
            if body.count(b":") != keys and duplicate_keys.may_have_more(body, keys):
                check_syntax(body)
            if self._pickers is None:
                return (rows,)
            return tuple([pick(row) for row in rows] for pick in self._pickers)
        if "out of range" not in complaint:
            check_syntax(body)
        raise self._wrong(complaint, bytes(features[:1]) == b"[" and not self._is_list_of_rows(features))

    def _is_list_of_rows(self, features: memoryview) -> bool:
        return bool(_ROWS.match(features) or _RECORDS.match(features))

    def _read(self, features: memoryview) -> tuple[list[Any], int]:
        """Return the rows, in the config's order, and how many keys the body has with them."""
        width = len(self._names)
        if _ROWS.match(features):
            return self._rows.decode(features), 1
        if _RECORDS.match(features):
            rows = [msgspec.structs.astuple(record) for record in self._records.decode(features)]
            return rows, 1 + width * len(rows)
        if (lists := _LISTS.match(features)) is not None:
            columns = msgspec.structs.astuple((self._boxed if lists[1] else self._lists).decode(features))
            rows = self._transpose(columns)
            return ([tuple([value for (value,) in row]) for row in rows] if lists[1] else rows), 1 + width
        if features[0] == ord("{"):
            return [msgspec.structs.astuple(self._record.decode(features))], 1 + width
        if _EMPTY.fullmatch(features):
            raise BadFeatures("features has no rows.")
        return [self._row.decode(features)], 1

    def _transpose(self, columns: Sequence[Sequence[Any]]) -> list[Any]:
        counts = [len(column) for column in columns]
        if len(set(counts)) > 1:
            other = next(i for i, count in enumerate(counts) if count != counts[0])
            raise BadFeatures(
                f"Every column needs the same number of rows: {short(self._names[0])} has {counts[0]}, "
                f"{short(self._names[other])} has {counts[other]}."
            )
        if not counts[0]:
            raise BadFeatures("features has no rows.")
        return list(zip(*columns, strict=True))

    def _wrong(self, complaint: str, flat: bool) -> MalformedJson | BadFeatures:
        """Put msgspec's message in our words, with the row and the column."""
        message, _, place = complaint.rpartition(" - at `")
        message, place = (message, place.removesuffix("`")) if message else (complaint, "$")
        row, column = self._locate(place, flat)
        where = f"row {row}" + (f", column {short(column)}" if column else "")
        if "out of range" in message:
            return MalformedJson(f"{where}: the number is out of range.")
        if message.startswith("Object missing required field "):
            name = message.split("`", 1)[1][:-1]
            return BadFeatures(f"{where}: column {short(name)} is missing.", of_columns=True)
        if message.startswith("Object contains unknown field "):
            name = message.split("`", 1)[1][:-1]
            near = suggest_column(name, self._columns)
            unknown = f"{where}: the model has no column {short(json.dumps(name))}{near}."
            return BadFeatures(unknown, of_columns=True)
        if message.startswith("Expected `array` of length") and column:
            return BadFeatures(f"{where}: expected a list of one value.")
        if message.startswith("Expected `array` of length"):
            return BadFeatures(f"{where} has another number of values than the model has columns: {len(self._names)}.")
        expected, _, got = message.removeprefix("Expected ").partition(", got ")
        if place == "$" and not flat:
            return BadFeatures(f"features: expected a list or an object, got {name_kind(got)}.")
        if got == "`null`" and column and expected != "`bool`":
            return BadFeatures(f"null at {where}: `nullable: true` of the column in model_config.yaml would allow it.")
        return BadFeatures(f"{where}: expected {name_kind(expected)}, got {name_kind(got)}.")

    def _locate(self, place: str, flat: bool) -> tuple[int, str | None]:
        """Return the row and the column of msgspec's path; those of the only row are 0."""
        if flat and (found := _IN_FLAT_ROW.fullmatch(place)):
            return 0, self._names[int(found[1])]
        if found := _IN_ROW.fullmatch(place):
            return int(found[1]), found[3] if found[2] is None else self._names[int(found[2])]
        if found := _IN_COLUMN.fullmatch(place):
            return int(found[2] or 0), found[1]
        return 0, None


def _not_the_body(complaint: str) -> BadFeatures:
    if "missing required field" in complaint:
        return BadFeatures("The field features is missing.")
    got = complaint.partition(", got ")[2].partition(" - at ")[0]
    return BadFeatures(f"the body: expected an object, got {name_kind(got)}.")


def _list_of(item: Any) -> Any:
    return GenericAlias(list, (item,))


def _type_of(column: ColumnSpec) -> Any:
    kind: Any = _TYPES[column.kind]
    return kind | None if column.nullable else kind


def _indices_of(tensor: Tensor, columns: Sequence[ColumnSpec]) -> list[int]:
    return [i for i, column in enumerate(columns) if column.wire_dtype == tensor.dtype]


def _picker(indices: Sequence[int]) -> Callable[[Any], Sequence[Any]]:
    """Return what takes the values of a tensor from a row."""
    if len(indices) == 1:
        first = indices[0]
        return lambda row: (row[first],)
    return itemgetter(*indices)


def _describe(tensor: Tensor, columns: Sequence[ColumnSpec], indices: Sequence[int]) -> InputTensor:
    own = [columns[i] for i in indices]
    integers = [(i, column.dtype) for i, column in enumerate(own) if column.nullable and column.kind == "integer"]

    def place(index: Sequence[int]) -> str:
        return f"row {index[0]}, column {short(own[index[1]].name)}"

    return InputTensor(tensor, place, any(column.nullable for column in own), integers)
