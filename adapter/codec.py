"""JSON `features` ↔ arrays, one codec per model, made once from its manifest entry.

Decoding is strict and in C (msgspec): no string, boolean or null passes for a number. What fails there is
looked at again, slowly, to tell malformed JSON (400) from wrong features (422) and to name the first offender.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from adapter.errors import BadFeatures, BadModelOutput, MalformedJson
from converter.spec import dtypes
from converter.spec.manifest import ModelEntry, Tensor

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

_SCALARS: Mapping[dtypes.JsonKind, type] = {"number": float, "integer": int, "boolean": bool, "string": str}
_MSGSPEC_NAMES = {
    "`int`": "an integer", "`float`": "a number", "`str`": "a string", "`bool`": "a boolean",
    "`null`": "null", "`array`": "a list", "`object`": "an object",
}  # fmt: skip
# Integers below this are the same as float64.
_EXACT = 2.0**53
_MOST_DETAIL = 300


class Codec:
    """Requests and answers of one model."""

    def __init__(self, entry: ModelEntry) -> None:
        self._name = entry.name
        self._inputs = entry.inputs
        self._outputs = entry.outputs
        self._nullable = entry.spec.non_finite is None
        self._decoder = msgspec.json.Decoder(self._body_type())
        # A one-dimensional list is one row; only for a single input whose rows are one-dimensional.
        one_row = len(entry.inputs) == 1 and len(entry.inputs[0].dims) == 1
        integers = any(dtypes.by_name(tensor.dtype).json == "integer" for tensor in entry.inputs)
        self._integers = integers
        # Tried in turn where the first decoder fails; integers may be written 1.0, as the README does.
        self._others = [
            (msgspec.json.Decoder(self._body_type(axes, as_float)), axes == -1)
            for as_float in ((False, True) if integers else (False,))
            for axes in ((0, -1) if one_row else (0,))
            if as_float or axes
        ]

    def decode(self, body: bytes) -> Arrays:
        """The input tensors, each (rows, *dims) and of the model's dtype.

        Raises MalformedJson where it is not JSON, BadFeatures where it is and the features are wrong.
        """
        features = self._features(body)
        if len(self._inputs) == 1:
            tensor = self._inputs[0]
            return {tensor.name: _to_array(features, tensor, "features")}
        arrays = {
            tensor.name: _to_array(getattr(features, f"input_{i}"), tensor, f"features.{tensor.name}")
            for i, tensor in enumerate(self._inputs)
        }
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise BadFeatures(f"Every input needs the same number of rows: {_short(listed)}.")
        return arrays

    def encode(self, outputs: Arrays) -> bytes:
        """The body of a 200. BadModelOutput where a number is not finite, unless `non_finite: null` is set."""
        parts = {tensor.name: self._to_json(outputs[tensor.name]) for tensor in self._outputs}
        predictions = next(iter(parts.values())) if len(self._outputs) == 1 else parts
        return orjson.dumps({"model": self._name, "predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)

    def check(self, outputs: Arrays, rows: int) -> None:
        """BadModelOutput where Triton's answer is not what the config promises."""
        self.check_shapes(outputs, rows)
        if not self.finite(outputs):
            raise self.not_finite()

    def finite(self, outputs: Arrays) -> bool:
        """Whether every number may be sent: all of them where the config says `non_finite: null`."""
        return self._nullable or all(
            array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in outputs.values()
        )

    def not_finite(self) -> BadModelOutput:
        return _bad_output("the answer has NaN or Infinity")

    def check_shapes(self, outputs: Arrays, rows: int) -> None:
        """BadModelOutput where an output is missing, or of another dtype or shape."""
        for tensor in self._outputs:
            array = outputs.get(tensor.name)
            if array is None:
                raise _bad_output(f"output {tensor.name} is missing")
            if array.dtype != np.dtype(dtypes.by_name(tensor.dtype).numpy):
                raise _bad_output(f"output {tensor.name} is {array.dtype}, not {tensor.dtype}")
            shape = array.shape
            fits = len(shape) == len(tensor.dims) + 1 and all(
                promised in (-1, size) for promised, size in zip(tensor.dims, shape[1:], strict=True)
            )
            if not fits or shape[0] != rows:
                raise _bad_output(f"output {tensor.name} is {shape}, not {(rows, *tensor.dims)}")

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

    def _features(self, body: bytes) -> Any:
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise MalformedJson(f"The body is not UTF-8 at byte {error.start}.") from error
        try:
            return self._decoder.decode(body).features
        except msgspec.ValidationError as error:
            complaints = [error]
        except (msgspec.DecodeError, RecursionError) as error:
            raise _malformed(error) from error
        if "out of range" not in str(complaints[0]):
            _check_syntax(body)
        for decoder, is_one_row in self._others:
            try:
                features = decoder.decode(body).features
            except msgspec.ValidationError as error:
                complaints.append(error)
                continue
            return [features] if is_one_row else features
        # Each decoder stops at its first complaint: the one that got furthest read the body as it was meant.
        raise self._wrong(max(complaints, key=_position))

    def _wrong(self, error: msgspec.ValidationError) -> MalformedJson | BadFeatures:
        """msgspec's message in our words: `Expected `float`, got `str` - at `$.features[0][1]``."""
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

    def _to_json(self, array: Array) -> Any:
        if array.dtype != np.object_:
            # Non-finite numbers become null; `check` let them pass only where the config says so.
            return np.ascontiguousarray(array)
        try:
            return _decoded(array).tolist()
        except UnicodeDecodeError as error:
            raise _bad_output("a string is not UTF-8") from error


def rows_of(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def _to_array(values: Sequence[Any], tensor: Tensor, where: str) -> Array:
    """Nested lists of the right JSON type → the model's dtype; ragged, wrong width and range are errors."""
    _check_shape(values, tensor.dims, where)
    dtype = dtypes.by_name(tensor.dtype)
    if dtype.json == "string":
        return _text_array(values)
    if dtype.json == "boolean":
        return np.array(values, dtype=np.bool_)
    if dtype.json == "integer":
        return _integer_array(values, tensor, where)
    exact = np.array(values, dtype=np.float64)
    if dtype.numpy == "float64":
        return exact
    with np.errstate(over="ignore"):
        array = exact.astype(dtype.numpy)
    if not np.isfinite(array).all():
        offender = _place(~np.isfinite(array), where)
        raise BadFeatures(f"{offender}: the number does not fit {tensor.dtype}, which the model takes.")
    return array


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
    quick = np.array(values)
    if quick.dtype == np.int64 and limits.min <= quick.min() and quick.max() <= limits.max:
        return quick.astype(tensor.dtype)
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


def _decoded(array: Array) -> Array:
    flat = np.empty(array.size, dtype=np.object_)
    flat[:] = [item.decode() for item in array.ravel().tolist()]
    return flat.reshape(array.shape)


def _place(mask: Array, where: str) -> str:
    return _place_of(int(np.argmax(mask)), mask.shape, where)


def _place_of(index: int, shape: tuple[int, ...], where: str) -> str:
    return where + "".join(f"[{i}]" for i in np.unravel_index(index, shape))


def _check_syntax(body: bytes) -> None:
    """MalformedJson if the rest of the body is not JSON; the typed decoder stops at its first complaint."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from error


def _position(error: msgspec.ValidationError) -> list[int]:
    """Where a complaint is, as indices: later in the body is larger."""
    return [int(index) for index in re.findall(r"\[(\d+)\]", str(error))]


def _malformed(error: Exception) -> MalformedJson:
    if isinstance(error, RecursionError):
        return MalformedJson("The body is nested too deeply.")
    reason = str(error).removeprefix("JSON is malformed: ")
    return MalformedJson(f"The body is not JSON: {_short(reason)}.")


def _bad_output(inside: str) -> BadModelOutput:
    return BadModelOutput("The model's answer is not what its config promises.", inside)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_DETAIL else text[:_MOST_DETAIL] + "…"


def example_rows(tensor: Tensor, rows: int) -> list[Any]:
    """Valid features of any size, for documents: 1.0, 2.0, … in each row."""
    kind = dtypes.by_name(tensor.dtype).json

    def fill(dims: Sequence[int], start: int) -> Any:
        if not dims:
            return {"number": float(start), "integer": start, "boolean": True, "string": f"text {start}"}[kind]
        # Small enough for every dtype.
        return [fill(dims[1:], (start + i - 1) % 100 + 1) for i in range(abs(dims[0]))]

    return [fill(tensor.dims, 1) for _ in range(rows)]
