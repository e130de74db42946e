"""Rows as other dialects write them, as `features` that the codec reads: rows, records, tables and tensors by name.

Values stay as they came: the codec judges them, and says of what is wrong with one what it says of our own requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from adapter.codec.body_errors import short
from adapter.dialects.scoring import json_parts
from adapter.dialects.scoring.json_parts import Part
from adapter.dialects.scoring.model_inputs import ModelInputs
from adapter.errors import BadFeatures, SchemaMismatch


def from_instances(part: Part, inputs: ModelInputs, where: str) -> Part:
    """Return the features of a list of rows, of records, or of values if a row has one. `where` is what it is called.

    Raises: BadFeatures and SchemaMismatch if they are not what the model takes; MalformedJson.
    """
    _check_list(part, where)
    if json_parts.is_list_of_objects(part):
        return from_records(part, inputs, where)
    if inputs.kind == "inputs":
        names = short(", ".join(inputs.names))
        raise BadFeatures(f"{where}: the model has several inputs: send each row as an object with {names}.")
    if json_parts.is_list_of_lists(part) or inputs.is_text:
        return part
    items = json_parts.read_items(part, where)
    if not inputs.takes_scalars:
        raise BadFeatures(f"{where}[0]: expected a list of the row's values, got {json_parts.kind_of(items[0])}.")
    return json_parts.write_boxed(items)


def from_records(part: Part, inputs: ModelInputs, where: str, by_place: bool = False) -> Part:
    """Return the features of a list of objects, one a row, as `from_instances` does.

    `by_place`: for a model whose columns have no names the keys of the first object say the order.
    """
    _check_list(part, where)
    if inputs.kind == "columns" and not inputs.are_tensors:
        return part
    objects = json_parts.read_objects(part, where)
    if inputs.kind == "columns":
        # Clients that know these as tensors write a row of each with the list around its only value.
        return json_parts.write_list(
            [_object({name: _unboxed(members[name]) for name in members}) for members in objects]
        )
    if inputs.kind == "inputs":
        for i, members in enumerate(objects):
            inputs.check_names(members, f"{where}[{i}]")
        return _columns([[members[name] for members in objects] for name in inputs.names], inputs)
    only = inputs.names[0]
    if by_place and not (set(objects[0]) == {only} and json_parts.is_list(objects[0][only])):
        names = list(objects[0])
        for i, members in enumerate(objects):
            if members.keys() != objects[0].keys():
                raise SchemaMismatch(f"{where}[{i}] has other columns than {where}[0]: {short(', '.join(members))}.")
        return json_parts.write_list([json_parts.write_list([members[name] for name in names]) for members in objects])
    for i, members in enumerate(objects):
        inputs.check_names(members, f"{where}[{i}]")
    return _rows_of(0, [members[only] for members in objects], inputs)


def from_table(names: Sequence[str] | None, part: Part, inputs: ModelInputs, where: str) -> Part:
    """Return the features of a list of rows under the names of columns, as `from_instances` does.

    Columns are matched by name if the model has names, else by place; also if `names` is None.
    """
    _check_list(part, where)
    if names is None or inputs.kind == "rows":
        return from_instances(part, inputs, where)
    order = inputs.order(names, "columns")
    if inputs.kind == "columns" and list(names) == inputs.names:
        return part
    rows = json_parts.read_lists(part, where)
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise BadFeatures(f"{where}[{i}] has {len(row)} values, and there are {len(names)} columns.")
    if inputs.kind == "columns":
        return json_parts.write_list([json_parts.write_list([row[place] for place in order]) for row in rows])
    return _columns([[row[place] for row in rows] for place in order], inputs)


def from_tensors(part: Part, inputs: ModelInputs, where: str) -> Part:
    """Return the features of a tensor, or of an object with one for each name, as `from_instances` does."""
    if not json_parts.is_object(part):
        return from_instances(part, inputs, where)
    members = json_parts.read_members(part, where)
    inputs.check_names(members, where)
    for name, value in members.items():
        _check_list(value, f"{where}.{name}")
    if inputs.kind == "rows":
        return from_instances(members[inputs.names[0]], inputs, f"{where}.{inputs.names[0]}")
    if inputs.kind == "columns":
        return part
    return _object(
        {
            name: json_parts.write_boxed(json_parts.read_items(members[name], name))
            if inputs.is_scalar(i) and not inputs.takes_texts(i) and not json_parts.is_list_of_lists(members[name])
            else members[name]
            for i, name in enumerate(inputs.names)
        }
    )


def _check_list(part: Part, where: str) -> None:
    if not json_parts.is_list(part):
        raise BadFeatures(f"{where}: expected a list, got {json_parts.kind_of(part)}.")
    if json_parts.is_empty(part):
        raise BadFeatures(f"{where} has no rows.")


def _columns(cells: Sequence[Sequence[msgspec.Raw]], inputs: ModelInputs) -> bytes:
    """Return the features of several inputs, of which each has a cell for each row."""
    return _object({name: _rows_of(i, cells[i], inputs) for i, name in enumerate(inputs.names)})


def _rows_of(i: int, cells: Sequence[msgspec.Raw], inputs: ModelInputs) -> bytes:
    """Return the rows of an input; a row of one value may be written without its list."""
    if inputs.is_scalar(i) and not inputs.takes_texts(i):
        return json_parts.write_list([cell if json_parts.is_list(cell) else b"[%b]" % bytes(cell) for cell in cells])
    return json_parts.write_list(cells)


def _unboxed(cell: Part) -> Part:
    """Return the only value of a list, and anything else as it is."""
    items = json_parts.read_items(cell, "a row") if json_parts.is_list(cell) else ()
    return items[0] if len(items) == 1 else cell


def _object(members: Mapping[str, Part]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (msgspec.json.encode(name), bytes(value)) for name, value in members.items())
