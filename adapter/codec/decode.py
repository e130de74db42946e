"""The JSON body of a request → the model's input tensors; made once for each model from its manifest entry.

Parsing is strict and in C (msgspec): no string, boolean or null passes for a number. What fails there is
looked at again, slowly, to tell malformed JSON (400) from wrong features (422) and to name the first offender.
Arrays are made later, of all the requests of a call at once.
"""

from __future__ import annotations

import gc
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from adapter.codec import duplicate_keys
from adapter.errors import BadFeatures, MalformedJson
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry, Tensor

Array = npt.NDArray[Any]
# One request's features: for each input of the model its rows, as nested lists of the right type and shape; of a large
# body, as an array.
Features = tuple[list[Any], ...]

_SCALARS: Mapping[dtypes.JsonKind, type] = {"number": float, "integer": int, "boolean": bool, "string": str}
_MSGSPEC_NAMES = {
    "`int`": "an integer", "`float`": "a number", "`str`": "a string", "`bool`": "a boolean",
    "`null`": "null", "`array`": "a list", "`object`": "an object",
}  # fmt: skip
# numpy dtype → its code in the struct module.
_STRUCT_CODES = {
    "float16": "e", "float32": "f", "float64": "d", "bool": "?",
    "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip
# Integers below this are the same as float64.
_EXACT = 2.0**53
_MOST_DETAIL = 300
# What a body of one row may have: around the values, for a number with its comma and spaces, and for a text.
_ROW_BYTES = 64 * 1024
_NUMBER_BYTES = 32
_TEXT_BYTES = 256 * 1024
# The event loop does nothing else while a body is read: a quarter of a second for 15 MiB, where it took a whole one.
_LARGE_BYTES = 256 * 1024


class FeaturesParser:
    """Read the requests of one model: JSON to features, and those of one or many requests to tensors."""

    def __init__(self, entry: ModelEntry) -> None:
        self._inputs = entry.inputs
        self._decoder = msgspec.json.Decoder(self._body_type())
        # `features`, and in it the inputs where they are several.
        self._keys = 1 if len(entry.inputs) == 1 else 1 + len(entry.inputs)
        # A one-dimensional list is one row; only for a single input whose rows are one-dimensional.
        one_row = len(entry.inputs) == 1 and len(entry.inputs[0].dims) == 1
        # The width that the rows of most models have: checked without a loop in Python.
        self._width = entry.inputs[0].dims[0] if one_row and entry.inputs[0].dims[0] > 0 else None
        integers = any(dtypes.by_name(tensor.dtype).json == "integer" for tensor in entry.inputs)
        self._integers = integers
        # Tried in turn where the first decoder fails; integers may be written 1.0, as the README does.
        self._others = [
            (msgspec.json.Decoder(self._body_type(axes, as_float)), axes == -1)
            for as_float in ((False, True) if integers else (False,))
            for axes in ((0, -1) if one_row else (0,))
            if as_float or axes
        ]

    def most_bytes_of_a_row(self) -> int | None:
        """Return the most bytes of a body of one row, however it is written; None if a row may be of any length."""
        dims = [size for tensor in self._inputs for size in tensor.dims]
        if -1 in dims:
            return None
        values = sum(
            math.prod(tensor.dims) * (_TEXT_BYTES if tensor.dtype == "string" else _NUMBER_BYTES)
            for tensor in self._inputs
        )
        return _ROW_BYTES + values

    def parse(self, body: bytes) -> Features:
        """Return the rows of a request, of the right JSON types and shape.

        Raises: MalformedJson if the body is not JSON; BadFeatures if it is, and the features are wrong.
        """
        features = self._features_of_large(body) if len(body) > _LARGE_BYTES else self._features(body)
        if self._width is not None:
            if not features or set(map(len, features)) != {self._width}:
                _check_shape(features, self._inputs[0].dims, "features")
            return (features,)
        if len(self._inputs) == 1:
            _check_shape(features, self._inputs[0].dims, "features")
            return (features,)
        parts = tuple(getattr(features, f"input_{i}") for i in range(len(self._inputs)))
        for part, tensor in zip(parts, self._inputs, strict=True):
            _check_shape(part, tensor.dims, f"features.{tensor.name}")
        if len({len(part) for part in parts}) > 1:
            counts = zip(self._inputs, parts, strict=True)
            listed = ", ".join(f"{tensor.name} has {len(part)}" for tensor, part in counts)
            raise BadFeatures(f"Every input needs the same number of rows: {_short(listed)}.")
        return parts

    def example(self, rows: int = 1) -> dict[str, Array]:
        """Return so many rows of made-up values, of the right shape and dtypes, by the inputs' names."""
        return {tensor.name: _example_array(tensor, rows) for tensor in self._inputs}

    def to_arrays(self, requests: Sequence[Features]) -> dict[str, Array]:
        """Return the rows of all requests in order, as one tensor for each input: (rows, *dims), of the model's dtype.

        Their rows must have the same shape (`row_shape`).

        Raises: BadFeatures if a number does not fit the dtype; its place is right for a single request.
        """
        single = len(self._inputs) == 1
        return {
            tensor.name: _joined(
                [item[i] for item in requests], tensor, "features" if single else f"features.{tensor.name}"
            )
            for i, tensor in enumerate(self._inputs)
        }

    def row_shape(self, features: Features) -> tuple[int, ...]:
        """Return the sizes of a row of each input, in a row; requests can be joined if these are equal."""
        sizes: list[int] = []
        for part, tensor in zip(features, self._inputs, strict=True):
            row = part[0]
            for _ in tensor.dims:
                sizes.append(len(row))
                row = row[0]
        return tuple(sizes)

    def _body_type(self, extra_axes: int = 0, as_float: bool = False) -> Any:
        def nested(tensor: Tensor) -> Any:
            kind = dtypes.by_name(tensor.dtype).json
            value: Any = float if as_float and kind == "integer" else _SCALARS[kind]
            for _ in range(len(tensor.dims) + 1 + extra_axes):
                value = list[value]
            return value

        features: Any
        if len(self._inputs) == 1:
            features = nested(self._inputs[0])
        else:
            names = {f"input_{i}": tensor.name for i, tensor in enumerate(self._inputs)}
            fields = [(f"input_{i}", nested(tensor)) for i, tensor in enumerate(self._inputs)]
            features = msgspec.defstruct("Features", fields, rename=names)
        return msgspec.defstruct("Body", [("features", features)])

    def _features_of_large(self, body: bytes) -> Any:
        """Read a large body without the garbage collector.

        Millions of new lists would set it off over and over, and there is no garbage among them.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._features(body)
        finally:
            if collecting:
                gc.enable()

    def _features(self, body: bytes) -> Any:
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise MalformedJson(f"The body is not UTF-8 at byte {error.start}.") from error
        try:
            features = self._decoder.decode(body).features
        except msgspec.ValidationError as error:
            # Without its traceback, whose frames have this list and the body: a cycle.
            complaints = [error.with_traceback(None)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise _malformed(error) from error
        else:
            # The usual case, without a call: all keys were found, and there are no more.
            if body.count(b":") != self._keys and duplicate_keys.may_have_more(body, self._keys):
                # The typed decoder passes over what it does not know.
                _check_syntax(body)
            return features
        if "out of range" not in str(complaints[0]):
            _check_syntax(body)
        for decoder, is_one_row in self._others:
            try:
                features = decoder.decode(body).features
            except msgspec.ValidationError as error:
                complaints.append(error.with_traceback(None))
                continue
            except (msgspec.DecodeError, RecursionError) as error:
                # Behind a number that is out of range, nothing was read before.
                raise _malformed(error) from error
            return [features] if is_one_row else features
        # Each decoder stops at its first complaint: the one that got furthest read the body as it was meant.
        raise self._wrong(max(complaints, key=_position))

    def _wrong(self, error: msgspec.ValidationError) -> MalformedJson | BadFeatures:
        """Put msgspec's message in our words: `Expected `float`, got `str` - at `$.features[0][1]``."""
        message, _, place = str(error).partition(" - at ")
        where = place.strip("`").removeprefix("$.") or "the body"
        if "out of range" in message:
            return MalformedJson(f"{_short(where)}: the number is out of range.")
        if "missing required field" in message:
            owner = "" if where == "the body" else f"{where}."
            return BadFeatures(f"The field {owner}{message.split('`')[1]} is missing.")
        expected, _, got = message.removeprefix("Expected ").partition(", got ")
        if not got:
            return BadFeatures(f"{_short(where)}: not what the model takes.")
        wanted = _MSGSPEC_NAMES.get(expected, expected)
        if wanted == "a number" and self._integers:
            wanted = "an integer"
        return BadFeatures(f"{_short(where)}: expected {wanted}, got {_MSGSPEC_NAMES.get(got, got)}.")


def _joined(parts: Sequence[Any], tensor: Tensor, where: str) -> Array:
    """Return the rows of all parts; a large body's came as an array (off_loop.py), which was checked."""
    if len(parts) == 1:
        part = parts[0]
        return part if isinstance(part, np.ndarray) else _to_array(part, tensor, where)
    if any([isinstance(part, np.ndarray) for part in parts]):
        return np.concatenate([_joined([part], tensor, where) for part in parts])
    return _to_array(list(chain.from_iterable(parts)), tensor, where)


def _to_array(values: Sequence[Any], tensor: Tensor, where: str) -> Array:
    """Return nested lists of the right JSON type and shape as an array of the model's dtype, or raise BadFeatures."""
    dtype = dtypes.by_name(tensor.dtype)
    code = _STRUCT_CODES.get(dtype.numpy)
    if code is None:
        return _text_array(values)
    flat: Sequence[Any] = values
    shape = [len(values)]
    for _ in tensor.dims:
        shape.append(len(flat[0]))
        flat = list(chain.from_iterable(flat))
    try:
        # Converts and checks the range in one step, in C; for a single row several times as fast as numpy.
        raw = struct.pack(f"={len(flat)}{code}", *flat)
    except (struct.error, OverflowError):
        if dtype.json == "integer":
            return _integer_array(values, tensor, where)
        raise _does_not_fit(values, tensor, where) from None
    return np.frombuffer(raw, dtype=dtype.numpy).reshape(shape)


def _does_not_fit(values: Sequence[Any], tensor: Tensor, where: str) -> BadFeatures:
    with np.errstate(over="ignore"):
        outside = ~np.isfinite(np.array(values, dtype=dtypes.by_name(tensor.dtype).numpy))
    place = _place_of(int(np.argmax(outside)), outside.shape, where)
    return BadFeatures(f"{place}: the number does not fit {tensor.dtype}, which the model takes.")


def _check_shape(values: Sequence[Any], dims: Sequence[int], where: str) -> None:
    if not values:
        raise BadFeatures(f"{where} has no rows.")
    # The widths of the first row stand for free axes: all rows must be alike to be one tensor.
    wanted = list(dims)
    first: Any = values[0]
    for axis, size in enumerate(dims):
        if size == -1:
            wanted[axis] = len(first)
        first = first[0] if first and axis + 1 < len(dims) else ()
    _check_rows(values, wanted, where)


def _check_rows(values: Sequence[Any], dims: Sequence[int], where: str) -> None:
    width = dims[0]
    for i, row in enumerate(values):
        if len(row) != width or not row:
            raise BadFeatures(f"{where}[{i}] has {len(row)} values, and the model takes {width or 'at least 1'}.")
        if len(dims) > 1:
            _check_rows(row, dims[1:], f"{where}[{i}]")


def _integer_array(values: Sequence[Any], tensor: Tensor, where: str) -> Array:
    limits = np.iinfo(tensor.dtype)
    wide = np.array(values, dtype=object)
    flat = wide.ravel().tolist()
    for i, value in enumerate(flat):
        if isinstance(value, float):
            if not value.is_integer() or abs(value) >= _EXACT:
                place = _place_of(i, wide.shape, where)
                raise BadFeatures(f"{place}: expected an integer, got a number with a fraction or too large.")
            value = int(value)
            flat[i] = value
        if not limits.min <= value <= limits.max:
            place = _place_of(i, wide.shape, where)
            raise BadFeatures(f"{place}: the number does not fit {tensor.dtype}, which the model takes.")
    return np.array(flat, dtype=tensor.dtype).reshape(wide.shape)


def _text_array(values: Sequence[Any]) -> Array:
    wide = np.array(values, dtype=object)
    flat = np.empty(wide.size, dtype=np.object_)
    flat[:] = [text.encode() for text in wide.ravel().tolist()]
    return flat.reshape(wide.shape)


def _place_of(index: int, shape: tuple[int, ...], where: str) -> str:
    return where + "".join(f"[{i}]" for i in np.unravel_index(index, shape))


def _check_syntax(body: bytes) -> None:
    """Check the whole body: a typed decoder stops at its first complaint.

    Raises: MalformedJson if it is not JSON, or has a key twice in an object.
    """
    try:
        msgspec.json.decode(body)
        duplicate_keys.check(body)
    except duplicate_keys.DuplicateKey as error:
        raise MalformedJson(f"The body has the key {_short(json.dumps(str(error)))} twice in an object.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from error


def _position(error: msgspec.ValidationError) -> list[int]:
    """Return where a complaint is, as indices: later in the body is larger."""
    return [int(index) for index in re.findall(r"\[(\d+)\]", str(error))]


def _malformed(error: Exception) -> MalformedJson:
    if isinstance(error, RecursionError):
        return MalformedJson("The body is nested too deeply.")
    reason = str(error).removeprefix("JSON is malformed: ")
    return MalformedJson(f"The body is not JSON: {_short(reason)}.")


def _short(text: str) -> str:
    return text if len(text) <= _MOST_DETAIL else text[:_MOST_DETAIL] + "…"


def _example_array(tensor: Tensor, rows: int) -> Array:
    dtype = dtypes.by_name(tensor.dtype)
    # Small enough for a byte at each step: a row may be large.
    row: Array = np.zeros(tuple(map(abs, tensor.dims)), dtype=np.uint8)
    for axis, size in enumerate(row.shape):
        steps = (np.arange(size) % 100).astype(np.uint8)
        row += steps.reshape([-1 if i == axis else 1 for i in range(row.ndim)])
        row %= 100
    row += 1
    if dtype.json == "string":
        row = _text_array(np.char.add("text ", row.astype(str)).tolist())
    return np.repeat(row[np.newaxis].astype(dtype.numpy), rows, axis=0)


def example_rows(tensor: Tensor, rows: int) -> list[Any]:
    """Return valid features of any size, for documents: 1.0, 2.0, … in each row."""
    array = _example_array(tensor, rows)
    values: list[Any] = (np.char.decode(array.astype(bytes)) if array.dtype == np.object_ else array).tolist()
    return values
