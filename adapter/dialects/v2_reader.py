"""A V2 inference request → rows of a model's tensors; made once for each model from its manifest entry.

The usual request, of one input of numbers as flat JSON, is read by one typed decoder. All others are read in two steps:
what they consist of, then each input's values.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from adapter.codec import duplicate_keys
from adapter.codec.body_errors import check_syntax, check_utf8, malformed, short
from adapter.codec.decode import LARGE_BYTES, SCALARS, Features, without_collections
from adapter.codec.input_tensor import STRUCT_CODES
from adapter.dialects.v2_messages import (
    InferBody,
    TensorPart,
    WantedPart,
    check_parameters,
    complain,
    count_keys,
    flag,
    plain_body,
)
from adapter.dialects.v2_values import FEW_ROWS, InputSlot, check_flat, read_json, read_raw, to_rows
from adapter.errors import BadTensor
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry

_SIZE = "binary_data_size"
_BODY = msgspec.json.Decoder(InferBody)
# Those of a request with one input, and nothing else.
_PLAIN_KEYS = 5
# How many heads of how many bytes each model keeps.
_MOST_HEADS, _MOST_HEAD = 64, 1024


class V2Asked(msgspec.Struct, array_like=True):
    """What a request says besides its inputs: its `id`, and the outputs by their places, each raw or not.

    Without `outputs` all are meant, raw if `raw` says so.
    """

    id: str | None = None
    raw: bool = False
    outputs: list[tuple[int, bool]] | None = None


ALL_AS_JSON = V2Asked()


class _KnownHead:
    """What the JSON in front of one raw tensor of few numbers said, for a request with the very same bytes."""

    __slots__ = ("_part", "_shape", "_slot", "_unpack", "asked", "size")

    def __init__(self, slot: InputSlot, shape: Sequence[int], size: int, asked: V2Asked) -> None:
        self._slot, self._shape = slot, shape
        self._part = TensorPart(slot.name, list(shape), slot.dtype.triton)
        self._unpack = struct.Struct(f"={math.prod(shape)}{STRUCT_CODES[slot.dtype.numpy]}").unpack_from
        self.size = size
        self.asked = asked

    def rows(self, body: bytes, head: int) -> Any:
        """Return the rows of a body whose values begin behind `head` bytes; raise BadTensor if one is not finite."""
        values = self._unpack(body, head)
        total = sum(values)
        # Only if a value is NaN or infinite, or if the sum alone is, which read_raw tells apart.
        if total - total != 0 or self._slot.dtype.json == "boolean":
            values = read_raw(self._slot, self._part, memoryview(body)[head:], self._shape).tolist()
        if self._shape[0] == 1:
            return [values]
        width = self._shape[1]
        return [values[i : i + width] for i in range(0, len(values), width)]


@dataclass(frozen=True)
class _Layout:
    """A form that the inputs of a model may be sent in; `columns_of` has for each tensor the places of its columns."""

    slots: tuple[InputSlot, ...]
    columns_of: tuple[tuple[int, ...], ...] | None = None


def tensor_slots(entry: ModelEntry) -> tuple[InputSlot, ...]:
    """Return the model's tensors as V2 inputs."""
    if entry.columns:
        nullable = {column.wire_dtype for column in entry.columns if column.nullable}
        whole = {column.wire_dtype: column.wire_dtype == column.dtype for column in entry.columns}
        return tuple(
            _slot(tensor.name, tensor.dtype, "int64" if not whole[tensor.dtype] else tensor.dtype, tensor.dims,
                  tensor.dtype in nullable) for tensor in entry.inputs
        )  # fmt: skip
    return tuple(
        _slot(tensor.name, tensor.dtype, spec.dtype, tensor.dims, spec.nullable)
        for tensor, spec in zip(entry.inputs, entry.spec.input, strict=True)
    )


def input_slots(entry: ModelEntry) -> tuple[InputSlot, ...]:
    """Return the inputs that V2 clients are told of: each column by itself, if the model has columns."""
    if not entry.columns:
        return tensor_slots(entry)
    return tuple(_slot(column.name, column.wire_dtype, column.dtype, (1,), column.nullable) for column in entry.columns)


def _slot(name: str, dtype: str, own: str, dims: tuple[int, ...], nullable: bool) -> InputSlot:
    return InputSlot(name, dtypes.by_name(dtype), dtypes.by_name(own), dims, nullable)


class V2Reader:
    """Read the V2 requests of one model."""

    def __init__(self, entry: ModelEntry) -> None:
        self._outputs = {tensor.name: i for i, tensor in enumerate(entry.outputs)}
        tensors = tensor_slots(entry)
        self._layouts = [_Layout(tensors)]
        if entry.columns:
            of = tuple(
                tuple(i for i, column in enumerate(entry.columns) if column.wire_dtype == tensor.dtype)
                for tensor in entry.inputs
            )
            self._layouts.insert(0, _Layout(input_slots(entry), of))
        self._plain: msgspec.json.Decoder[Any] | None = None
        self._heads: dict[bytes, _KnownHead] = {}
        first = self._first = tensors[0]
        if len(tensors) == 1 and not entry.columns and first.is_exact and not first.nullable and len(first.dims) == 1:
            self._plain = msgspec.json.Decoder(plain_body(SCALARS[first.dtype.json]))

    def read(self, body: bytes, head: int | None) -> tuple[Features, V2Asked]:
        """Return the rows of a request, and what else it says.

        `head` is how many bytes of it are JSON if raw tensors follow, else None.

        Raises: MalformedJson if it is not JSON; BadTensor if it is, and not what the model takes.
        """
        if len(body) > LARGE_BYTES:
            with without_collections():
                return self._read(body, head)
        return self._read(body, head)

    def _read(self, body: bytes, head: int | None) -> tuple[Features, V2Asked]:
        if head is not None:
            if not 0 < head <= len(body):
                raise BadTensor(f"Inference-Header-Content-Length is {head}, and the body has {len(body)} bytes.")
            return self._raw(body, head)
        if not body.isascii():
            check_utf8(body)
        if self._plain is not None:
            try:
                message = self._plain.decode(body)
            except msgspec.ValidationError:
                # Not what most send: what it is, or what is wrong with it, is found in steps.
                pass
            except (msgspec.DecodeError, RecursionError) as error:
                raise malformed(error) from error
            else:
                (part,) = message.inputs
                rows = self._plain_rows(part)
                if rows is not None:
                    if message.id is UNSET and message.outputs is UNSET and message.parameters is UNSET:
                        if body.count(b":") != _PLAIN_KEYS:
                            _check_keys(body, message)
                        return (rows,), ALL_AS_JSON
                    _check_keys(body, message)
                    return (rows,), self._asked(message)
        return self._in_steps(body, memoryview(b""))

    def _raw(self, body: bytes, head: int) -> tuple[Features, V2Asked]:
        """Read a body with raw tensors; the JSON of one input is read once, as a client sends it again and again."""
        text = body[:head]
        known = self._heads.get(text)
        if known is not None and len(body) - head == known.size:
            return (known.rows(body, head),), known.asked
        features, asked = self._in_steps(text, memoryview(body)[head:])
        shape = np.shape(features[0])
        slot = self._first
        if self._plain is not None and head <= _MOST_HEAD and len(body) > head and shape[0] <= FEW_ROWS:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[text] = _KnownHead(slot, shape, len(body) - head, asked)
        return features, asked

    def _plain_rows(self, part: Any) -> Any:
        """Return the rows of a part that is just what the model takes; None says nothing."""
        slot, shape, values = self._first, part.shape, part.data
        if part.name != slot.name or part.datatype != slot.dtype.triton or part.parameters is not UNSET:
            return None
        if len(shape) != 2 or slot.dims[0] not in (-1, shape[1]) or min(shape) < 1:
            return None
        if shape[0] * shape[1] != len(values):
            return None
        return [values] if shape[0] == 1 else to_rows(slot, values, shape)

    def _in_steps(self, head: bytes, raw: memoryview) -> tuple[Features, V2Asked]:
        check_utf8(head)
        try:
            message = _BODY.decode(head)
        except msgspec.ValidationError as error:
            if "out of range" not in str(error):
                check_syntax(head)
            raise complain(error) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(error) from error
        _check_keys(head, message)
        asked = self._asked(message)
        return self.read_parts(message.inputs, _cut(message.inputs, raw)), asked

    def read_parts(self, parts: Sequence[TensorPart], pieces: Mapping[str, memoryview | list[Any]]) -> Features:
        """Return the rows of inputs whose values, raw or flat, are in `pieces` by name, or else in their `data`.

        Raises: MalformedJson if data is not JSON; BadTensor if the inputs are not what the model takes.
        """
        layout = self._layout_of(parts)
        given = _by_name(parts, layout.slots)
        read: list[tuple[Any, Sequence[int]]] = []
        for slot in layout.slots:
            part = given[slot.name]
            shape = slot.rows_of(part)
            piece = pieces.get(slot.name)
            if isinstance(piece, list):
                read.append((check_flat(slot, part, piece, shape), shape))
            elif piece is not None:
                read.append((read_raw(slot, part, piece, shape), shape))
            elif part.has_data and isinstance(part.data, msgspec.Raw):
                read.append((read_json(slot, part, part.data, shape), shape))
            else:
                raise BadTensor(f"{slot.where} has no data.")
        _check_rows(layout.slots, [shape[0] for _, shape in read])
        return _features(layout, read)

    def _asked(self, message: Any) -> V2Asked:
        parameters = check_parameters(message.parameters, "parameters")
        raw = flag(parameters, "binary_data_output", "parameters", False)
        asked = V2Asked(None if message.id is UNSET else message.id, raw)
        if message.outputs is not UNSET and message.outputs:
            asked.outputs = self.find_outputs(message.outputs, raw)
        return asked

    def find_outputs(self, parts: Sequence[WantedPart], raw: bool) -> list[tuple[int, bool]]:
        """Return the places of the outputs that are asked for, and whether each is to be raw; `raw` is the default.

        Raises: BadTensor if the model has no such output, or one is asked for in a way that is not served.
        """
        found: list[tuple[int, bool]] = []
        for wanted in parts:
            where = f'output "{short(wanted.name)}"'
            place = self._outputs.get(wanted.name)
            if place is None:
                raise BadTensor(f"The model has no {where}: it has {short(', '.join(self._outputs))}.")
            if any(place == other for other, _ in found):
                raise BadTensor(f"{where} is asked for twice.")
            own = check_parameters(wanted.parameters, where)
            found.append((place, flag(own, "binary_data", where, raw)))
        return found

    def _layout_of(self, parts: Sequence[TensorPart]) -> _Layout:
        """Return the form that the inputs are in: by columns unless the first is one of the tensors."""
        for layout in self._layouts[1:]:
            if parts and any(parts[0].name == slot.name for slot in layout.slots):
                return layout
        return self._layouts[0]


def make_reader(entry: ModelEntry) -> V2Reader:
    """Make what reads a model's requests, for the process that reads large ones."""
    return V2Reader(entry)


def read_large(reader: V2Reader, body: bytes, note: str) -> tuple[Features, str]:
    """Return the rows of a large body, and what else it says as text; `note` is the length of its head, or empty."""
    features, asked = reader.read(body, int(note) if note else None)
    return features, msgspec.json.encode(asked).decode()


def _check_keys(body: bytes, message: Any) -> None:
    keys = count_keys(message)
    if body.count(b":") != keys and duplicate_keys.may_have_more(body, keys):
        # There are keys that were passed over, and one may stand there twice.
        check_syntax(body)


def _by_name(parts: Sequence[TensorPart], slots: Sequence[InputSlot]) -> dict[str, TensorPart]:
    given: dict[str, TensorPart] = {}
    names = {slot.name for slot in slots}
    for part in parts:
        where = f'input "{short(part.name)}"'
        if part.name not in names:
            raise BadTensor(f"The model has no {where}: it takes {short(', '.join(slot.name for slot in slots))}.")
        if part.name in given:
            raise BadTensor(f"{where} stands in the request twice.")
        given[part.name] = part
    for slot in slots:
        if slot.name not in given:
            raise BadTensor(
                f"{slot.where} is missing: send it with datatype {slot.dtype.triton} and shape {slot.shape}."
            )
    return given


def _cut(parts: Sequence[TensorPart], raw: memoryview) -> dict[str, memoryview]:
    """Return the raw values of the inputs that have some behind the JSON, in its order."""
    pieces: dict[str, memoryview] = {}
    start = 0
    for part in parts:
        where = f'input "{short(part.name)}"'
        size = check_parameters(part.parameters, where).get(_SIZE)
        if size is None:
            continue
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BadTensor(f"{where}: {_SIZE} must be a whole number of bytes.")
        if part.has_data:
            raise BadTensor(f"{where} has data and {_SIZE}: leave one of them out.")
        if start + size > len(raw):
            raise BadTensor(
                f"{where}: its {_SIZE} is {size}, and {len(raw) - start} bytes are left behind the JSON: "
                "is Inference-Header-Content-Length the length of the JSON?"
            )
        pieces[part.name] = raw[start : start + size]
        start += size
    if start != len(raw):
        raise BadTensor(f"{len(raw) - start} bytes at the end of the body are no input's: {_SIZE} says how many are.")
    return pieces


def _check_rows(slots: Sequence[InputSlot], rows: Sequence[int]) -> None:
    for (one, count), (other, more) in pairwise(zip(slots, rows, strict=True)):
        if count != more:
            raise BadTensor(
                f"Every input needs the same number of rows: {one.where} has {count}, {other.where} has {more}."
            )


def _features(layout: _Layout, read: Sequence[tuple[Any, Sequence[int]]]) -> Features:
    if layout.columns_of is None:
        return tuple([to_rows(slot, values, shape) for slot, (values, shape) in zip(layout.slots, read, strict=True)])
    flat = [values if isinstance(values, list) else values.tolist() for values, _ in read]
    return tuple([list(zip(*[flat[i] for i in places], strict=True)) for places in layout.columns_of])
