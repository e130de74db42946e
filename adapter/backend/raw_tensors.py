"""Triton's raw tensors: arrays to bytes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from converter.schema import dtypes
from converter.schema.manifest import Tensor


def to_raw(array: npt.NDArray[Any]) -> bytes:
    """Return an array as little-endian values in C order; a string is 4 bytes of length, then its bytes."""
    if array.dtype != np.object_:
        return array.tobytes()
    parts: list[bytes] = []
    for item in array.ravel().tolist():
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
