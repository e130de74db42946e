"""Rows of the right JSON types and shape → the tensors of a call; and rows that are made up."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter.errors import BadFeatures
from converter.schema import dtypes
from converter.schema.manifest import Tensor

Array = npt.NDArray[Any]

# numpy dtype → its code in the struct module.
STRUCT_CODES = {
    "float16": "e", "float32": "f", "float64": "d", "bool": "?",
    "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip
# Integers below this are the same as float64.
_EXACT = 2.0**53


@dataclass(frozen=True)
class InputTensor:
    """A tensor of a model, and what the values that clients send for it may be.

    `place` says where the value of an index stands in the body. `integers` names the dtype of integers that cross as
    float64, since some may be missing, beside their index in the last axis.
    """

    tensor: Tensor
    place: Callable[[Sequence[int]], str]
    nullable: bool = False
    integers: Sequence[tuple[int | slice, str]] = ()

    def join(self, parts: Sequence[Any]) -> Array:
        """Return the rows of all requests; a large body's came as an array (off_loop.py), which was checked.

        Raises: BadFeatures if a number does not fit the dtype.
        """
        if len(parts) == 1:
            part = parts[0]
            return part if isinstance(part, np.ndarray) else self._to_array(part)
        if any([isinstance(part, np.ndarray) for part in parts]):
            return np.concatenate([self.join([part]) for part in parts])
        return self._to_array(list(chain.from_iterable(parts)))

    def example(self, rows: int) -> Array:
        """Return so many rows of made-up values."""
        dtype = dtypes.by_name(self.tensor.dtype)
        # Small enough for a byte at each step: a row may be large.
        row: Array = np.zeros(tuple(map(abs, self.tensor.dims)), dtype=np.uint8)
        for axis, size in enumerate(row.shape):
            steps = (np.arange(size) % 100).astype(np.uint8)
            row += steps.reshape([-1 if i == axis else 1 for i in range(row.ndim)])
            row %= 100
        row += 1
        if dtype.json == "string":
            row = _text_array(np.char.add("text ", row.astype(str)).tolist())
        return np.repeat(row[np.newaxis].astype(dtype.numpy), rows, axis=0)

    def example_rows(self, rows: int) -> list[Any]:
        """Return the same rows as a client may send them, for documents."""
        array = self.example(rows)
        values: list[Any] = (np.char.decode(array.astype(bytes)) if array.dtype == np.object_ else array).tolist()
        return values

    def _to_array(self, values: Sequence[Any]) -> Array:
        """Return nested lists of the right JSON type and shape as an array of the model's dtype."""
        dtype = dtypes.by_name(self.tensor.dtype)
        code = STRUCT_CODES.get(dtype.numpy)
        if code is None:
            return _text_array(values)
        flat: Sequence[Any] = values
        shape = [len(values)]
        for _ in self.tensor.dims:
            shape.append(len(flat[0]))
            flat = list(chain.from_iterable(flat))
        if self.nullable:
            flat = [math.nan if value is None else value for value in flat]
        try:
            # Converts and checks the range in one step, in C; for a single row several times as fast as numpy.
            raw = struct.pack(f"={len(flat)}{code}", *flat)
        except (struct.error, OverflowError):
            if dtype.json == "integer":
                return self._integer_array(flat, shape)
            raise self._does_not_fit(flat, code, shape) from None
        array = np.frombuffer(raw, dtype=dtype.numpy).reshape(shape)
        if self.integers:
            self._check_integers(array)
        return array

    def _integer_array(self, values: Sequence[Any], shape: Sequence[int]) -> Array:
        limits = np.iinfo(self.tensor.dtype)
        flat = list(values)
        for i, value in enumerate(flat):
            if isinstance(value, float):
                if not value.is_integer() or abs(value) >= _EXACT:
                    raise self._wrong(i, shape, "expected an integer, got a number with a fraction or too large")
                value = int(value)
                flat[i] = value
            if not limits.min <= value <= limits.max:
                raise self._wrong(i, shape, f"the number does not fit {self.tensor.dtype}, which the model takes")
        return np.array(flat, dtype=self.tensor.dtype).reshape(shape)

    def _does_not_fit(self, flat: Sequence[Any], code: str, shape: Sequence[int]) -> BadFeatures:
        first = next(i for i, value in enumerate(flat) if not _fits(value, code))
        return self._wrong(first, shape, f"the number does not fit {self.tensor.dtype}, which the model takes")

    def _check_integers(self, array: Array) -> None:
        """Check integers that cross as floats: NaN stands for those that are missing."""
        for index, dtype in self.integers:
            part, limits = array[..., index], np.iinfo(dtype)
            wrong = np.zeros(array.shape, dtype=np.bool_)
            # A comparison with NaN is false.
            wrong[..., index] = (part != np.floor(part)) & (part == part) | (np.abs(part) >= _EXACT)
            if wrong.any():
                text = "expected an integer, got a number with a fraction, or of 2**53 or more"
                raise self._wrong(int(np.argmax(wrong)), array.shape, text)
            wrong[..., index] = (part < limits.min) | (part > limits.max)
            if wrong.any():
                text = f"the number does not fit {dtype}, which the model takes"
                raise self._wrong(int(np.argmax(wrong)), array.shape, text)

    def _wrong(self, index: int, shape: Sequence[int], what: str) -> BadFeatures:
        place = self.place([int(i) for i in np.unravel_index(index, tuple(shape))])
        return BadFeatures(f"{place}: {what}.")


def _fits(value: float, code: str) -> bool:
    try:
        struct.pack(f"={code}", value)
    except (struct.error, OverflowError):
        return False
    return True


def _text_array(values: Sequence[Any]) -> Array:
    """Return texts as UTF-8; None stays, where it may be there."""
    wide = np.array(values, dtype=object)
    flat = np.empty(wide.size, dtype=np.object_)
    flat[:] = [None if text is None else text.encode() for text in wide.ravel().tolist()]
    return flat.reshape(wide.shape)
