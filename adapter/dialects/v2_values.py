"""The values of one V2 tensor, in JSON or raw bytes → rows of the adapter's own, held against what the model takes."""

from __future__ import annotations

import functools
import itertools
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from adapter.codec.body_errors import malformed, name_kind, short
from adapter.codec.decode import SCALARS
from adapter.codec.input_tensor import STRUCT_CODES
from adapter.dialects.v2_messages import TensorPart
from adapter.errors import BadTensor, MalformedJson
from converter.schema import dtypes
from converter.schema.wire import NULL_TEXT

# Up to so many rows stay lists, which are joined with others' quicker than arrays are.
FEW_ROWS = 16
_NESTED = re.compile(rb"\s*\[\s*\[")
_LENGTH_BYTES = 4


@dataclass(frozen=True)
class InputSlot:
    """One input as V2 clients send it: a tensor of the model, or one column of it.

    `dims` is the shape of a row. `dtype` is what crosses to the model; integers that may be missing cross as float64,
    and may be sent as integers of the dtype `own` too.
    """

    name: str
    dtype: dtypes.DType
    own: dtypes.DType
    dims: tuple[int, ...]
    nullable: bool

    @property
    def where(self) -> str:
        """The input's name as it stands in messages."""
        return f'input "{short(self.name)}"'

    @property
    def shape(self) -> list[int]:
        """The shape of any number of rows."""
        return [-1, *self.dims]

    @property
    def is_exact(self) -> bool:
        """Whether raw numbers may go on as they are: there are no integers among floats to be checked."""
        return self.dtype == self.own and self.dtype.json != "string"

    def dtype_of(self, part: TensorPart) -> dtypes.DType:
        """Return the dtype that a part is sent in; raise BadTensor if the model takes another."""
        for dtype in (self.dtype, self.own):
            if part.datatype == dtype.triton:
                return dtype
        wanted = self.dtype.triton
        raise BadTensor(
            f"{self.where} has datatype {short(part.datatype)}, and the model takes {wanted}: "
            f"convert the values and send them as {wanted}."
        )

    def rows_of(self, part: TensorPart) -> list[int]:
        """Return a part's shape with the axis of rows; a flat one may stand for rows of one value.

        Raises: BadTensor if the model takes another shape.
        """
        shape = part.shape
        if len(shape) == 1 and self.dims == (1,):
            shape = [*shape, 1]
        fits = len(shape) == len(self.dims) + 1 and all(
            wanted in (-1, size) for wanted, size in zip(self.dims, shape[1:], strict=True)
        )
        if not fits or min(shape) < 0:
            raise BadTensor(
                f"{self.where} has shape {short(str(part.shape))}, and the model takes {self.shape}: "
                "rows first, -1 is any number."
            )
        if 0 in shape:
            raise BadTensor(f"{self.where} has no values: its shape is {short(str(part.shape))}; send a row at least.")
        return shape


@functools.lru_cache(maxsize=256)
def _decoder(kind: dtypes.JsonKind, nullable: bool, depth: int) -> msgspec.json.Decoder[Any]:
    value: Any = SCALARS[kind]
    if nullable:
        value = value | None
    for _ in range(depth):
        value = list[value]
    return msgspec.json.Decoder(value)


def read_json(slot: InputSlot, part: TensorPart, data: msgspec.Raw, shape: Sequence[int]) -> list[Any]:
    """Return the flat values of `data`, which is row-major or nested as the part's shape says.

    Raises: MalformedJson if it is not JSON; BadTensor if it is, and not what its shape and the model say.
    """
    dtype = slot.dtype_of(part)
    text = memoryview(data)
    nested = _NESTED.match(text) is not None
    depth = len(part.shape) if nested else 1
    try:
        values = _decoder(dtype.json, slot.nullable, depth).decode(text)
    except msgspec.ValidationError as error:
        raise _wrong_value(slot, error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error) from error
    for size in part.shape[1:] if nested else ():
        if set(map(len, values)) != {size}:
            raise BadTensor(f"{slot.where}: its data is not nested as its shape {short(str(part.shape))} says.")
        values = list(itertools.chain.from_iterable(values))
    if len(values) != math.prod(shape):
        raise _wrong_count(slot, len(values), part.shape)
    return list(values)


def read_raw(slot: InputSlot, part: TensorPart, raw: memoryview, shape: Sequence[int]) -> Any:
    """Return the flat values of raw bytes, little-endian: an array, or a list of texts.

    Raises: BadTensor if they do not fill the shape, or are not what the model takes.
    """
    dtype = slot.dtype_of(part)
    count = math.prod(shape)
    if dtype.json == "string":
        texts = _texts(slot, raw)
        if len(texts) != count:
            raise _wrong_count(slot, len(texts), part.shape)
        return texts
    kind = np.dtype(dtype.numpy)
    if len(raw) != count * kind.itemsize:
        raise BadTensor(
            f"{slot.where} has {len(raw)} bytes of values, and its shape {short(str(part.shape))} of {dtype.triton} "
            f"takes {count * kind.itemsize}."
        )
    array: npt.NDArray[Any] = np.frombuffer(raw, dtype=kind)
    if kind.kind == "f" and not np.isfinite(array).all():
        if not slot.nullable:
            raise BadTensor(f"{slot.where} has NaN or Infinity, which the model does not take.")
        if np.isinf(array).any():
            raise BadTensor(f"{slot.where} has Infinity, which the model does not take; NaN is a missing value.")
    if kind.kind == "b" and (np.frombuffer(raw, dtype=np.uint8) > 1).any():
        raise BadTensor(f"{slot.where} has bytes that are neither 0 nor 1, and BOOL has no others.")
    return array


def check_flat(slot: InputSlot, part: TensorPart, values: list[Any], shape: Sequence[int]) -> list[Any]:
    """Return flat values of the part's datatype, strings as bytes, once they were looked at.

    Raises: BadTensor if they do not fill the shape, or are not what the model takes.
    """
    dtype = slot.dtype_of(part)
    if len(values) != math.prod(shape):
        raise _wrong_count(slot, len(values), part.shape)
    if dtype.json == "string":
        return [_text(slot, value, i) for i, value in enumerate(values)]
    if dtype.json == "number" and not np.isfinite(values).all():
        if not slot.nullable:
            raise BadTensor(f"{slot.where} has NaN or Infinity, which the model does not take.")
        if np.isinf(values).any():
            raise BadTensor(f"{slot.where} has Infinity, which the model does not take; NaN is a missing value.")
    return values


def to_rows(slot: InputSlot, values: Any, shape: Sequence[int]) -> Any:
    """Return flat values as rows of this shape: an array of the model's dtype, or nested lists.

    Numbers that do not fit the dtype stay in lists, and are refused when these become a tensor.
    """
    if isinstance(values, np.ndarray):
        rows = values.reshape(shape)
        return rows if slot.is_exact and values.dtype == slot.dtype.numpy else rows.tolist()
    if len(shape) == 2 and (shape[0] <= FEW_ROWS or not slot.is_exact):
        width = shape[1]
        return [values] if shape[0] == 1 else [values[i : i + width] for i in range(0, len(values), width)]
    if slot.is_exact and not slot.nullable:
        try:
            raw = struct.pack(f"={len(values)}{STRUCT_CODES[slot.dtype.numpy]}", *values)
            return np.frombuffer(raw, dtype=slot.dtype.numpy).reshape(shape)
        except (struct.error, OverflowError):
            pass
    wide = np.empty(len(values), dtype=np.object_)
    wide[:] = values
    return wide.reshape(shape).tolist()


def _texts(slot: InputSlot, raw: memoryview) -> list[str | None]:
    texts: list[str | None] = []
    position, data = 0, bytes(raw)
    while position < len(data):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(data[start - _LENGTH_BYTES : start], "little")
        if position > len(data) or start > len(data):
            raise BadTensor(f"{slot.where}: its bytes are cut short: each value is 4 bytes of length, then its own.")
        texts.append(_text(slot, data[start:position], len(texts)))
    return texts


def _text(slot: InputSlot, item: bytes, place: int) -> str | None:
    if item == NULL_TEXT and slot.nullable:
        return None
    try:
        return item.decode()
    except UnicodeDecodeError:
        raise BadTensor(f"{slot.where}: value {place} is not UTF-8.") from None


def _wrong_count(slot: InputSlot, count: int, shape: Sequence[int]) -> BadTensor:
    return BadTensor(f"{slot.where} has {count} values, and its shape {short(str(shape))} takes {math.prod(shape)}.")


def _wrong_value(slot: InputSlot, error: msgspec.ValidationError) -> MalformedJson | BadTensor:
    message, _, place = str(error).partition(" - at ")
    where = slot.where + place.strip("`").removeprefix("$")
    if "out of range" in message:
        return MalformedJson(f"{short(where)}: the number is out of range.")
    expected, _, got = message.removeprefix("Expected ").partition(", got ")
    hint = ""
    if got == "`null`" and not slot.nullable:
        hint = ", which `nullable: true` in its model_config.yaml would allow"
    elif "array" in got or "array" in expected:
        hint = ": data is flat, or nested as the shape says"
    return BadTensor(f"{short(where)}: expected {name_kind(expected)}, got {name_kind(got)}{hint}.")
