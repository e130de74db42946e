"""Strings as two numeric tensors, the form in which they cross to a model: numpy 2 cannot take Triton's own.

A string tensor `t` with rows of shape D crosses as `t.bytes`, UINT8 of shape (rows, width), and `t.lengths`, INT32 of
shape (rows, *D). The first is the UTF-8 of all strings, one after the other in C order, and then zeros; its width is at
least 1. The second says how many bytes each string has, and -1 for None.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def pack_strings(array: Array) -> tuple[Array, Array]:
    """Return the bytes and the lengths of an object array of bytes and None, whose first axis is the rows."""
    items = array.ravel().tolist()
    lengths = np.fromiter((-1 if item is None else len(item) for item in items), np.int32, len(items))
    # Neither None nor an empty string has any bytes.
    joined = b"".join(filter(None, items))
    rows = len(array)
    # As many bytes a row as the joined ones fill, rounded up.
    width = max(1, -(-len(joined) // rows)) if rows else 1
    # A bytearray, since numpy 2 hands on no array that cannot be written to.
    filled = bytearray(rows * width)
    filled[: len(joined)] = joined
    return np.frombuffer(filled, np.uint8).reshape(rows, width), lengths.reshape(array.shape)


def unpack_strings(packed: Array, lengths: Array) -> Array:
    """Return the object array of bytes and None that was packed. Raises ValueError if the lengths do not fit."""
    joined, sizes = packed.tobytes(), lengths.ravel().tolist()
    least = min(sizes, default=0)
    # Plain lists: they are quicker here than arrays of offsets.
    ends = list(accumulate(sizes if least >= 0 else (max(0, size) for size in sizes)))
    if least < -1 or (ends and ends[-1] > len(joined)):
        raise ValueError(f"the lengths of its strings do not fit its {len(joined)} bytes")
    items = (joined[start:end] for start, end in pairwise((0, *ends)))
    array = np.fromiter(items, np.object_, len(ends)).reshape(lengths.shape)
    array[lengths < 0] = None
    return array
