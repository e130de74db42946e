"""The rows that a user has: csv, json, npy or parquet → names, dtypes and values."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import CannotTell

# More say nothing new of a model's answers.
_MOST_ROWS = 20_000
_MISSING = ("", "NA", "NaN", "nan", "null", "None")


@dataclass
class Data:
    """`names` are "0", "1", … for a file that has none (`named` is False then); `rows` in JSON's terms."""

    names: list[str]
    dtypes: list[str]
    rows: list[list[Any]]
    named: bool


def read(path: str) -> Data:
    """Read a file by its ending. Raises CannotTell with what is wrong with it."""
    ending = path.rpartition(".")[2].lower()
    if ending == "npy":
        array: Any = np.load(path, allow_pickle=False)
        rows = np.atleast_2d(array)[:_MOST_ROWS].tolist()
        return _make_data(None, rows)
    if ending == "json":
        with open(path, encoding="utf-8") as file:
            return _read_json(json.load(file))
    if ending == "parquet":
        import pandas

        frame = pandas.read_parquet(path).head(_MOST_ROWS)
        names = [str(name) for name in frame.columns]
        return _make_data(names, [[_plain(value) for value in row] for row in frame.itertuples(index=False)])
    if ending in ("csv", "tsv", "txt"):
        return _read_csv(path, "\t" if ending == "tsv" else ",")
    raise CannotTell(f"rows are read from .csv, .json, .npy and .parquet, and this is .{ending}", "--data")


def fit(data: Data, form: dict[str, Any]) -> list[Any]:
    """Bring the data into a model's form: its columns by name, in its order. Raises CannotTell for those not there."""
    if form["form"] == "text":
        texts = [i for i, dtype in enumerate(data.dtypes) if dtype == "string"]
        if len(texts) != 1:
            raise CannotTell(
                f"the model takes one text a row, and the data have {len(texts)} columns of text: keep one", "--data"
            )
        return [row[texts[0]] for row in data.rows if row[texts[0]] is not None]
    if form["form"] == "columns":
        wanted = [item["name"] for item in form["columns"]]
        if data.named:
            missing = [name for name in wanted if name not in data.names]
            if missing:
                there = ", ".join(data.names[:20])
                raise CannotTell(f"the model takes a column {missing[0]}, and the data have {there}", "--data")
            places = [data.names.index(name) for name in wanted]
        else:
            places = _all_places(data, len(wanted))
        for item, place in zip(form["columns"], places, strict=True):
            categories = str(item.get("from")).startswith("its categor") and data.dtypes[place] == "int64"
            if categories or (item["dtype"] == "float64" and data.dtypes[place] in ("string", "bool")):
                item.update(dtype=data.dtypes[place], **{"from": "the data"})
        return [_write_texts(form["columns"], [row[i] for i in places]) for row in data.rows]
    if form["form"] == "tensors":
        (tensor,) = form["tensors"] if len(form["tensors"]) == 1 else (None,)
        if tensor is None:
            raise CannotTell("--data gives rows to models of one input", "--data")
        places = _all_places(data, int(np.prod(tensor["shape"])))
        return [[np.reshape([row[i] for i in places], tensor["shape"]).tolist()] for row in data.rows]
    places = _all_places(data, form["width"])
    return [[row[i] for i in places] for row in data.rows]


def _write_texts(columns: list[dict[str, Any]], row: list[Any]) -> list[Any]:
    """Write numbers as texts where the model takes texts, as of postcodes."""
    return [
        str(value) if item["dtype"] == "string" and value is not None else value
        for item, value in zip(columns, row, strict=True)
    ]


def _all_places(data: Data, width: int) -> list[int]:
    if len(data.names) != width:
        there = f"{len(data.names)} columns ({', '.join(data.names[:8])}…)"
        raise CannotTell(f"the data have {there}, and the model takes {width}: keep these alone", "--data")
    return list(range(width))


def _read_json(content: Any) -> Data:
    if isinstance(content, dict) and "features" in content:
        content = content["features"]
    if isinstance(content, dict) and set(content) >= {"columns", "data"}:
        return _make_data([str(name) for name in content["columns"]], content["data"])
    if isinstance(content, dict) and all(isinstance(column, list) for column in content.values()):
        return _make_data(list(content), [list(row) for row in zip(*content.values(), strict=True)])
    if isinstance(content, list) and content and isinstance(content[0], dict):
        names = list(content[0])
        return _make_data(names, [[row.get(name) for name in names] for row in content[:_MOST_ROWS]])
    if isinstance(content, list) and content:
        return _make_data(None, [row if isinstance(row, list) else [row] for row in content[:_MOST_ROWS]])
    raise CannotTell("the JSON is neither a list of rows or of records, nor an object of columns", "--data")


def _read_csv(path: str, delimiter: str) -> Data:
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = [
            line for _, line in zip(range(_MOST_ROWS + 1), csv.reader(file, delimiter=delimiter), strict=False) if line
        ]
    if not lines:
        raise CannotTell("the file has no rows", "--data")
    # A first line without a number is one of names.
    named = len(lines) > 1 and not any(_is_number(cell) for cell in lines[0])
    body = lines[1:] if named else lines
    if any(len(line) != len(lines[0]) for line in body):
        raise CannotTell("the lines of the file differ in length", "--data")
    columns = [_parse_column([line[i].strip() for line in body]) for i in range(len(lines[0]))]
    return _make_data(lines[0] if named else None, [list(row) for row in zip(*columns, strict=True)])


def _parse_column(cells: list[str]) -> list[Any]:
    there = [cell for cell in cells if cell not in _MISSING]
    if all(_is_number(cell) for cell in there):
        whole = all(cell.lstrip("+-").isdigit() for cell in there)
        return [None if cell in _MISSING else int(cell) if whole else float(cell) for cell in cells]
    if {cell.lower() for cell in there} <= {"true", "false"}:
        return [None if cell in _MISSING else cell.lower() == "true" for cell in cells]
    return [cell or None for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, str | int | float | bool | None) and value == value else None


def _make_data(names: list[str] | None, rows: list[list[Any]]) -> Data:
    if not rows or any(not isinstance(row, list) or len(row) != len(rows[0]) for row in rows):
        raise CannotTell("the rows differ in length", "--data")
    width = len(rows[0])
    rows = [[None if value != value else value for value in row] for row in rows]
    dtypes = [_find_dtype([row[i] for row in rows if row[i] is not None]) for i in range(width)]
    return Data(names or [str(i) for i in range(width)], dtypes, rows, names is not None)


def _find_dtype(values: list[Any]) -> str:
    kinds = {type(value) for value in values}
    if kinds and kinds <= {bool}:
        return "bool"
    if kinds and kinds <= {int}:
        return "int64"
    return "float64" if kinds <= {int, float, bool} else "string"
