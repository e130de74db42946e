"""The JSON body of a request → the model's input tensors; made once for each model from its manifest entry.

Parsing is strict and in C (msgspec): no string, boolean or null passes for a number. What fails there is
looked at again, slowly, to tell malformed JSON (400) from wrong features (422) and to name the first offender.
Arrays are made later, of all the requests of a call at once.
"""

from __future__ import annotations

import abc
import contextlib
import gc
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from adapter.codec import duplicate_keys
from adapter.codec.body_errors import check_syntax, check_utf8, malformed, name_kind, short
from adapter.codec.input_tensor import Array, InputTensor
from adapter.errors import BadFeatures, MalformedJson
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry
from converter.schema.model import nullable_kinds

# One request's features: for each input of the model its rows, as nested lists of the right type and shape; of a large
# body, as an array.
Features = tuple[list[Any], ...]

SCALARS: Mapping[dtypes.JsonKind, type] = {"number": float, "integer": int, "boolean": bool, "string": str}
# What a body of one row may have: around the values, for a number with its comma and spaces, and for a text.
_ROW_BYTES = 64 * 1024
_NUMBER_BYTES = 32
_TEXT_BYTES = 256 * 1024
# The event loop does nothing else while a body is read: a quarter of a second for 15 MiB, where it took a whole one.
LARGE_BYTES = 256 * 1024
_NULL_ALLOWED_BY = ", which `nullable: true` in its model_config.yaml would allow"


@dataclass(frozen=True)
class _Form:
    """A form that features may be written in: all their rows, one flat row, or a flat list of texts for text inputs."""

    decoder: msgspec.json.Decoder[Any]
    is_one_row: bool = False
    flat_texts: bool = False


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Read a large body without the garbage collector.

    Millions of new lists would set it off over and over, and there is no garbage among them.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class RowsOfTensors(abc.ABC):
    """What the requests of one model come to, whatever they are written as: rows of its tensors, joined into arrays."""

    def __init__(self, entry: ModelEntry, tensors: Sequence[InputTensor]) -> None:
        self.entry = entry
        self._inputs = entry.inputs
        self._tensors = tensors

    @abc.abstractmethod
    def parse(self, body: bytes) -> Features:
        """Return the rows of a request, of the right JSON types and shape.

        Raises: MalformedJson if the body is not JSON; BadFeatures if it is, and the features are wrong.
        """

    def example(self, rows: int = 1) -> dict[str, Array]:
        """Return so many rows of made-up values, of the right shape and dtypes, by the tensors' names."""
        return {item.tensor.name: item.example(rows) for item in self._tensors}

    def example_features(self, rows: int) -> Any:
        """Return made-up features as a client may send them, for documents."""
        return self.as_sent(self.example_parts(rows))

    def example_parts(self, rows: int) -> list[list[Any]]:
        """Return the same as `parse` would: for each tensor its rows."""
        return [item.example_rows(rows) for item in self._tensors]

    @abc.abstractmethod
    def as_sent(self, features: Sequence[Sequence[Any]]) -> Any:
        """Return rows of `parse` as a client may send them: records of columns, and texts as a flat list."""

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

    def to_arrays(self, requests: Sequence[Features]) -> dict[str, Array]:
        """Return the rows of all requests in order, as one array for each tensor: (rows, *dims), of the model's dtype.

        Their rows must have the same shape (`row_shape`).

        Raises: BadFeatures if a number does not fit the dtype; its place is right for a single request.
        """
        return {item.tensor.name: item.join([each[i] for each in requests]) for i, item in enumerate(self._tensors)}

    def row_shape(self, features: Features) -> tuple[int, ...]:
        """Return the sizes of a row of each tensor, in a row; requests can be joined if these are equal."""
        sizes: list[int] = []
        for part, tensor in zip(features, self._inputs, strict=True):
            row = part[0]
            for _ in tensor.dims:
                sizes.append(len(row))
                row = row[0]
        return tuple(sizes)


class FeaturesParser(RowsOfTensors):
    """Read the requests of one model: JSON to features, and those of one or many requests to tensors."""

    def __init__(self, entry: ModelEntry) -> None:
        single = len(entry.inputs) == 1
        self._specs = entry.spec.input
        super().__init__(entry, [_describe(entry, i, single) for i in range(len(entry.inputs))])
        texts = any(spec.is_text for spec in self._specs)
        # Nothing is to be done with what the first decoder gives.
        self._is_plain = single and not texts
        # `features`, and in it the inputs where they are several.
        self._keys = 1 if single else 1 + len(entry.inputs)
        # A one-dimensional list is one row; only for a single input whose rows are one-dimensional.
        one_row = single and len(entry.inputs[0].dims) == 1 and not texts
        # The width that the rows of most models have: checked without a loop in Python.
        self._width = entry.inputs[0].dims[0] if one_row and entry.inputs[0].dims[0] > 0 else None
        integers = any(dtypes.by_name(spec.dtype).json == "integer" for spec in self._specs)
        self._integers = integers
        self._nullable = [name_kind(f"`{SCALARS[kind].__name__}`") for kind in nullable_kinds(entry.spec.backend)]
        # Tried in turn where the one before fails; integers may be written 1.0, as the README does.
        self._first, *self._others = [
            _Form(msgspec.json.Decoder(self._body_type(axes, texts_axes, as_float)), axes == -1, texts_axes == -1)
            for as_float in ((False, True) if integers else (False,))
            for texts_axes in ((-1, 0) if texts else (0,))
            for axes in ((0, -1) if one_row else (0,))
        ]

    def parse(self, body: bytes) -> Features:
        """Return the rows of a request, as RowsOfTensors says."""
        if len(body) > LARGE_BYTES:
            with without_collections():
                features = self._features(body)
        else:
            features = self._features(body)
        if self._width is not None:
            if not features or set(map(len, features)) != {self._width}:
                _check_shape(features, self._inputs[0].dims, "features")
            return (features,)
        if len(self._inputs) == 1:
            _check_shape(features, self._inputs[0].dims, "features")
            return (features,)
        for part, tensor in zip(features, self._inputs, strict=True):
            _check_shape(part, tensor.dims, f"features.{tensor.name}")
        if len({len(part) for part in features}) > 1:
            counts = zip(self._inputs, features, strict=True)
            listed = ", ".join(f"{tensor.name} has {len(part)}" for tensor, part in counts)
            raise BadFeatures(f"Every input needs the same number of rows: {short(listed)}.")
        return tuple(features)

    def as_sent(self, features: Sequence[Sequence[Any]]) -> Any:
        """Return rows as a client may send them, as RowsOfTensors says."""
        named = {
            tensor.name: [text for (text,) in rows] if spec.is_text else rows
            for rows, tensor, spec in zip(features, self._inputs, self._specs, strict=True)
        }
        return next(iter(named.values())) if len(named) == 1 else named

    def _body_type(self, extra_axes: int, extra_axes_of_texts: int, as_float: bool) -> Any:
        def nested(i: int) -> Any:
            spec, tensor = self._specs[i], self._inputs[i]
            kind = dtypes.by_name(spec.dtype).json
            value: Any = float if as_float and kind == "integer" else SCALARS[kind]
            if spec.nullable:
                value = value | None
            for _ in range(len(tensor.dims) + 1 + (extra_axes_of_texts if spec.is_text else extra_axes)):
                value = list[value]
            return value

        features: Any
        if len(self._inputs) == 1:
            features = nested(0)
        else:
            names = {f"input_{i}": tensor.name for i, tensor in enumerate(self._inputs)}
            fields = [(f"input_{i}", nested(i)) for i in range(len(self._inputs))]
            features = msgspec.defstruct("Features", fields, rename=names)
        return msgspec.defstruct("Body", [("features", features)])

    def _rows(self, features: Any, form: _Form) -> Any:
        """Return all rows of features in this form: those of the only input, or of each."""
        if len(self._inputs) == 1:
            if form.flat_texts:
                return [[text] for text in features]
            return [features] if form.is_one_row else features
        parts = [getattr(features, f"input_{i}") for i in range(len(self._inputs))]
        if form.flat_texts:
            parts = [
                [[text] for text in part] if spec.is_text else part
                for part, spec in zip(parts, self._specs, strict=True)
            ]
        return parts

    def _features(self, body: bytes) -> Any:
        if not body.isascii():
            body = check_utf8(body)
        try:
            features = self._first.decoder.decode(body).features
        except msgspec.ValidationError as error:
            # Without its traceback, whose frames have this list and the body: a cycle.
            complaints = [error.with_traceback(None)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(error) from error
        else:
            # The usual case, without a call: all keys were found, and there are no more.
            if body.count(b":") != self._keys and duplicate_keys.may_have_more(body, self._keys):
                # The typed decoder passes over what it does not know.
                check_syntax(body)
            return features if self._is_plain else self._rows(features, self._first)
        if "out of range" not in str(complaints[0]):
            check_syntax(body)
        for form in self._others:
            try:
                features = form.decoder.decode(body).features
            except msgspec.ValidationError as error:
                complaints.append(error.with_traceback(None))
                continue
            except (msgspec.DecodeError, RecursionError) as error:
                # Behind a number that is out of range, nothing was read before.
                raise malformed(error) from error
            return self._rows(features, form)
        # Each decoder stops at its first complaint: the one that got furthest read the body as it was meant.
        raise self._wrong(max(complaints, key=_position))

    def _wrong(self, error: msgspec.ValidationError) -> MalformedJson | BadFeatures:
        """Put msgspec's message in our words: `Expected `float`, got `str` - at `$.features[0][1]``."""
        message, _, place = str(error).partition(" - at ")
        where = place.strip("`").removeprefix("$.") or "the body"
        if "out of range" in message:
            return MalformedJson(f"{short(where)}: the number is out of range.")
        if "missing required field" in message:
            owner = "" if where == "the body" else f"{where}."
            return BadFeatures(f"The field {owner}{message.split('`')[1]} is missing.")
        expected, _, got = message.removeprefix("Expected ").partition(", got ")
        if not got:
            return BadFeatures(f"{short(where)}: not what the model takes.")
        wanted = name_kind(expected)
        if wanted == "a number" and self._integers:
            wanted = "an integer"
        hint = _NULL_ALLOWED_BY if got == "`null`" and wanted in self._nullable else ""
        return BadFeatures(f"{short(where)}: expected {wanted}, got {name_kind(got)}{hint}.")


def _describe(entry: ModelEntry, i: int, single: bool) -> InputTensor:
    """Describe an input: it crosses as it is written, but for integers that may be missing, which cross as floats."""
    tensor, spec = entry.inputs[i], entry.spec.input[i]
    where = "features" if single else f"features.{tensor.name}"
    integers = [(slice(None), spec.dtype)] if spec.nullable and dtypes.by_name(spec.dtype).json == "integer" else []
    return InputTensor(tensor, partial(_place_of, where), spec.nullable, integers)


def _place_of(where: str, index: Sequence[int]) -> str:
    return where + "".join(f"[{i}]" for i in index)


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


def _position(error: msgspec.ValidationError) -> list[int]:
    """Return where a complaint is, as indices: later in the body is larger."""
    return [int(index) for index in re.findall(r"\[(\d+)\]", str(error))]
