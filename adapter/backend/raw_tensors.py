"""Triton's raw tensors: arrays to bytes and back, and strings as the tensors that they are packed into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter.backend.protocol import Arrays
from converter.schema import dtypes
from converter.schema.manifest import Tensor
from converter.schema.packed_strings import pack_strings, unpack_strings
from converter.schema.wire import NULL_TEXT


def to_raw(array: npt.NDArray[Any]) -> bytes:
    """Return an array as little-endian values in C order; a string is 4 bytes of length, then its bytes.

    None, which only nullable strings have, is NULL_TEXT.
    """
    if array.dtype != np.object_:
        return array.tobytes()
    parts: list[bytes] = []
    for item in array.ravel().tolist():
        if item is None:
            item = NULL_TEXT
        parts.append(len(item).to_bytes(4, "little"))
        parts.append(item)
    return b"".join(parts)


def promised(tensor: Tensor, datatype: str) -> dtypes.DType:
    """Return the dtype that the config promises of an output; `datatype` is Triton's name for what came.

    Raises: ValueError if that is another one.
    """
    dtype = dtypes.by_name(tensor.dtype)
    if datatype != dtype.triton:
        raise ValueError(f"output {tensor.name} is {datatype}, not {dtype.triton}")
    return dtype


def from_raw(raw: bytes, dtype: dtypes.DType, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the array of a raw tensor that `to_raw` wrote; raise ValueError if the bytes do not fill the shape."""
    if dtype.json != "string":
        return np.frombuffer(raw, dtype=dtype.numpy).reshape(shape)
    items: list[bytes] = []
    position = 0
    while position < len(raw):
        start = position + 4
        position = start + int.from_bytes(raw[start - 4 : start], "little")
        if position > len(raw):
            raise ValueError("a string is cut short")
        items.append(raw[start:position])
    array = np.empty(len(items), dtype=np.object_)
    array[:] = items
    return array.reshape(shape)


def pack_tensors(tensors: Sequence[Tensor], arrays: Arrays) -> Arrays:
    """Return what crosses in place of these tensors' arrays where strings are packed."""
    packed: dict[str, npt.NDArray[Any]] = {}
    for tensor in tensors:
        array = arrays[tensor.name]
        values = pack_strings(array) if tensor.dtype == "string" else (array,)
        packed |= {wire.name: value for wire, value in zip(tensor.pack(), values, strict=True)}
    return packed


def unpack_tensors(tensors: Sequence[Tensor], arrays: Arrays) -> Arrays:
    """Undo `pack_tensors`. Raises ValueError or KeyError if what came is not whole, or a string is None."""
    unpacked: dict[str, npt.NDArray[Any]] = {}
    for tensor in tensors:
        values = [arrays[wire.name] for wire in tensor.pack()]
        unpacked[tensor.name] = unpack_strings(*values) if tensor.dtype == "string" else values[0]
        if tensor.dtype == "string" and (values[1] < 0).any():
            raise ValueError(f"{tensor.name} holds None")
    return unpacked
