"""The model's output tensors → the JSON body of an answer; made once for each model from its manifest entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from adapter.errors import BadModelOutput
from adapter.request_timings import RequestTimings
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry, Tensor

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
# Some rows of an answer: for each output their JSON, without the brackets around the list; or arrays, if the request
# wants them.
Texts = tuple[bytes, ...]
# From so many rows a request on, each request's are written by themselves.
_MANY_ROWS = 16
_OF_NULL = ord("n")


class _NotFinite(Exception):
    """A number of an answer is NaN or infinite."""


class PredictionsWriter:
    """Write the answers of one model."""

    def __init__(self, entry: ModelEntry) -> None:
        self._outputs = entry.outputs
        self._nullable = entry.spec.non_finite is None
        self._dtypes = {tensor.name: np.dtype(dtypes.by_name(tensor.dtype).numpy) for tensor in entry.outputs}
        self._free = any(-1 in tensor.dims for tensor in entry.outputs)
        self._head = b'{"model":%b,"predictions":' % orjson.dumps(entry.name)
        names = [orjson.dumps(tensor.name) for tensor in entry.outputs]
        # What stands before, between and after the rows of each output.
        self._frames = (
            [self._head + b"[", b"]}"]
            if len(names) == 1
            else [self._head + b"{" + names[0] + b":[", *(b"]," + name + b":[" for name in names[1:]), b"]}}"]
        )

    def body(self, parts: Sequence[Texts]) -> bytes:
        """Return the body of a 200, the rows of all parts in order; raise BadModelOutput if they are no tensor."""
        if self._free and len(parts) > 1 and len({_row_shapes(part) for part in parts}) > 1:
            raise _bad_output("the parts of a request differ in shape")
        pieces: list[bytes] = []
        for i, frame in enumerate(self._frames[:-1]):
            pieces.append(frame)
            pieces.append(parts[0][i] if len(parts) == 1 else b",".join([part[i] for part in parts]))
        pieces.append(self._frames[-1])
        return b"".join(pieces)

    def texts(self, outputs: Arrays, counts: Sequence[int]) -> list[Texts | BadModelOutput]:
        """Return the rows of a call, for each request that had `counts` of them. `check_shapes` let them pass.

        In place of a request's rows there is BadModelOutput if a number of them is not finite (unless the config has
        `non_finite: null`) or a string is not UTF-8.
        """
        try:
            columns = [self._split(outputs[tensor.name], tensor, counts) for tensor in self._outputs]
        except _NotFinite:
            wrong = _bad_output("the answer has NaN or Infinity")
        except UnicodeDecodeError:
            wrong = _bad_output("a string is not UTF-8")
        else:
            return list(zip(*columns, strict=True))
        return [wrong] if len(counts) == 1 else self._one_by_one(outputs, counts)

    def write(
        self, outputs: Arrays, counts: Sequence[int], timings: Sequence[RequestTimings]
    ) -> Sequence[Texts | BadModelOutput]:
        """Return what `texts` does, but for a request whose answer is wanted as arrays its rows of each output."""
        if not any([item.tensors for item in timings]):
            return self.texts(outputs, counts)
        everybody = all([item.tensors for item in timings])
        results = [()] * len(counts) if everybody else self.texts(outputs, counts)
        arrays = [outputs[tensor.name] for tensor in self._outputs]
        # Once for all of them, since it costs more than the rest.
        finite = self._nullable or all([_is_finite(array) for array in arrays])
        ends = accumulate(counts)
        for i, (item, count, end) in enumerate(zip(timings, counts, ends, strict=True)):
            if item.tensors:
                part: Any = tuple([array[end - count : end] for array in arrays])
                if not finite and not all([_is_finite(array) for array in part]):
                    part = _bad_output("the answer has NaN or Infinity")
                results[i] = part
        return results

    def check_shapes(self, outputs: Arrays, rows: int) -> None:
        """Raise BadModelOutput if an output of a call of so many rows is missing, or of another dtype or shape."""
        for tensor in self._outputs:
            array = outputs.get(tensor.name)
            if array is None:
                raise _bad_output(f"output {tensor.name} is missing")
            if array.dtype != self._dtypes[tensor.name]:
                raise _bad_output(f"output {tensor.name} is {array.dtype}, not {tensor.dtype}")
            shape = array.shape
            fits = len(shape) == len(tensor.dims) + 1 and all(
                promised in (-1, size) for promised, size in zip(tensor.dims, shape[1:], strict=True)
            )
            if not fits or shape[0] != rows:
                raise _bad_output(f"output {tensor.name} is {shape}, not {(rows, *tensor.dims)}")

    def _one_by_one(self, outputs: Arrays, counts: Sequence[int]) -> list[Texts | BadModelOutput]:
        """Do as `texts` for each request alone: the neighbours of a wrong one keep their answers."""
        results: list[Texts | BadModelOutput] = []
        start = 0
        for count in counts:
            part = {name: array[start : start + count] for name, array in outputs.items()}
            start += count
            results += self.texts(part, [count])
        return results

    def _split(self, array: Array, tensor: Tensor, counts: Sequence[int]) -> list[bytes]:
        """Return the JSON of an output's rows, for each request that had `counts` of them.

        Raises: _NotFinite if a number is NaN or infinite, and the config does not allow it; UnicodeDecodeError if a
        string is not UTF-8.
        """
        if array.dtype == np.object_:
            values = _strings(array)
            if len(counts) == 1:
                return [orjson.dumps(values)[1:-1]]
            # A string may hold what stands between rows.
            return _joined([orjson.dumps(row) for row in values], counts)
        if len(counts) == 1:
            return [self._numbers(array)[1:-1]]
        if len(array) >= _MANY_ROWS * len(counts):
            ends = accumulate(counts)
            return [self._numbers(array[end - count : end])[1:-1] for end, count in zip(ends, counts, strict=True)]
        if not array.size:
            # Nothing stands between rows of nothing.
            return _joined([orjson.dumps(row) for row in array.tolist()], counts)
        # Once for all of them, then cut: a text each costs more than its few rows.
        depth = len(tensor.dims)
        opening, closing = b"[" * depth, b"]" * depth
        separator = closing + b"," + opening
        rows = self._numbers(array)[1 + depth : -1 - depth].split(separator)
        return _joined(rows, counts, opening, separator, closing)

    def _numbers(self, array: Array) -> bytes:
        """Return the JSON of an array of numbers or booleans; raise _NotFinite as `_split` does."""
        text = orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
        # What JSON has no number for is written as null, which alone has this letter; quicker than asking numpy.
        if not self._nullable and _OF_NULL in text:
            raise _NotFinite
        return text


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _joined(
    rows: Sequence[bytes], counts: Sequence[int], opening: bytes = b"", separator: bytes = b",", closing: bytes = b""
) -> list[bytes]:
    """Return the texts of rows, for each request that had `counts` of them."""
    parts: list[bytes] = []
    start = 0
    for count in counts:
        row = rows[start] if count == 1 else separator.join(rows[start : start + count])
        parts.append(opening + row + closing)
        start += count
    return parts


def _strings(array: Array) -> Any:
    """Return UTF-8 bytes as nested lists of text; raise UnicodeDecodeError if they are not UTF-8."""
    flat = np.empty(array.size, dtype=np.object_)
    flat[:] = [item.decode() for item in array.ravel().tolist()]
    return flat.reshape(array.shape).tolist()


def _row_shapes(part: Texts) -> tuple[tuple[int, ...], ...]:
    """Return the shape of a row of each output."""
    return tuple(np.shape(orjson.loads(b"[" + text + b"]")[0]) for text in part)


def _bad_output(inside: str) -> BadModelOutput:
    return BadModelOutput("The model's answer is not what its config promises.", inside)
