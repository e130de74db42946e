"""A CSV body as `features` that the codec reads: by the names of its header if the model has names, else by place."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence

import msgspec

from adapter.codec.body_errors import check_utf8, short
from adapter.dialects.scoring import json_parts
from adapter.dialects.scoring.instances import from_table
from adapter.dialects.scoring.json_parts import Part
from adapter.dialects.scoring.model_inputs import ModelInputs
from adapter.errors import BadFeatures, MalformedJson, SchemaMismatch
from converter.schema.dtypes import JsonKind
from converter.schema.manifest import ModelEntry

# What JSON writes so too.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
_TRUTHS = {"true": b"true", "1": b"true", "false": b"false", "0": b"false"}
_WANTED = {"number": "a number", "integer": "an integer", "boolean": "a boolean"}
_WHERE = "rows"
# What a value is in JSON, and whether it may be missing.
_Kind = tuple[JsonKind, bool]


def read_csv(body: bytes, entry: ModelEntry) -> tuple[Part, str]:
    """Return the features of a body whose first line has the columns' names, and what its rows are called.

    Raises: MalformedJson if the body is not CSV in UTF-8; BadFeatures and SchemaMismatch if it is not what the model
    takes.
    """
    return _read(body, entry, has_header=True)


def read_bare_csv(body: bytes, entry: ModelEntry) -> tuple[Part, str]:
    """Do as `read_csv` for a body without a header, as `text/csv; header=absent` says: all columns by place."""
    return _read(body, entry, has_header=False)


def _read(body: bytes, entry: ModelEntry, has_header: bool) -> tuple[Part, str]:
    inputs = ModelInputs(entry)
    lines = _lines(check_utf8(body).decode())
    header: list[str] | None = None
    if has_header:
        header = [name.strip() for name in next(lines, ())]
        if not header:
            raise BadFeatures("The body is empty: CSV begins with a line of the columns' names.")
    names, kinds = _columns_of(header, inputs)
    rows = [_write_row(i, row, names, kinds) for i, row in enumerate(lines)]
    if not rows:
        raise BadFeatures("The body has no rows.")
    return from_table(names, json_parts.write_list(rows), inputs, _WHERE), _WHERE


def _columns_of(header: Sequence[str] | None, inputs: ModelInputs) -> tuple[Sequence[str], Sequence[_Kind]]:
    """Return the names of the columns as they come, and what their values are."""
    if inputs.kind == "rows":
        if len(inputs.entry.inputs[0].dims) != 1:
            raise BadFeatures("The model's rows are no flat lists, which is all that CSV has: send JSON.")
        width = inputs.width or len(header or ())
        if header is not None and len(header) != width:
            raise SchemaMismatch(f"columns: there are {len(header)}, and the model takes {width}.")
        return header or [str(i + 1) for i in range(width)], inputs.value_kinds(width)
    if not all(inputs.is_scalar(i) for i in range(len(inputs.names))):
        raise BadFeatures("The model's inputs have several values a row, which CSV has no form for: send JSON.")
    kinds = inputs.value_kinds(len(inputs.names))
    if header is None:
        return inputs.names, kinds
    of_name = dict(zip(inputs.names, kinds, strict=True))
    inputs.check_names(header, "columns")
    return header, [of_name[name] for name in header]


def _lines(text: str) -> Iterator[list[str]]:
    """Return the lines that are not empty, as lists of cells."""
    try:
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise MalformedJson(f"The body is not CSV: {short(str(error))}.") from error


def _write_row(i: int, row: Sequence[str], names: Sequence[str], kinds: Sequence[_Kind]) -> bytes:
    if len(row) != len(names) and names:
        raise BadFeatures(f"row {i} has {len(row)} values, and there are {len(names)} columns.")
    cells = []
    for cell, name, (kind, nullable) in zip(row, names, kinds, strict=True):
        written = _write_cell(cell, kind, nullable)
        if written is None:
            got = "nothing" if not cell.strip() else "text"
            raise BadFeatures(f"row {i}, column {short(name)}: expected {_WANTED[kind]}, got {got}.")
        cells.append(written)
    return b"[%b]" % b",".join(cells)


def _write_cell(cell: str, kind: JsonKind, nullable: bool) -> bytes | None:
    """Return the JSON of a cell, or None if it is not of this kind."""
    if kind == "string":
        return b"null" if nullable and not cell else msgspec.json.encode(cell)
    cell = cell.strip()
    if nullable and cell.lower() in _MISSING:
        return b"null"
    if kind == "boolean":
        return _TRUTHS.get(cell.lower())
    if _NUMBER.fullmatch(cell):
        return cell.encode()
    try:
        number = float(cell)
    except ValueError:
        return None
    # 1_000 is a number to Python alone.
    return repr(number).encode() if math.isfinite(number) and "_" not in cell else None
