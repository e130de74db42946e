"""The model's output tensors → the JSON body of an answer; made once for each model from its manifest entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from adapter.errors import BadModelOutput
from converter.spec import dtypes
from converter.spec.manifest import ModelEntry, Tensor

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
# Some rows of an answer: for each output their JSON, without the brackets around the list.
Texts = tuple[bytes, ...]


class _NotFinite(Exception):
    """A number of an answer is NaN or infinite."""


class PredictionsWriter:
    """Answers of one model."""

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
        """The body of a 200: the rows of all parts, in order. BadModelOutput where together they are no tensor."""
        if self._free and len(parts) > 1 and len({_row_shapes(part) for part in parts}) > 1:
            raise _bad_output("the parts of a request differ in shape")
        pieces: list[bytes] = []
        for i, frame in enumerate(self._frames[:-1]):
            pieces.append(frame)
            pieces.append(parts[0][i] if len(parts) == 1 else b",".join([part[i] for part in parts]))
        pieces.append(self._frames[-1])
        return b"".join(pieces)

    def texts(self, outputs: Arrays, counts: Sequence[int]) -> list[Texts | BadModelOutput]:
        """The rows of a call, for each request that had `counts` of them. `check_shapes` let them pass.

        In place of a request's rows BadModelOutput, where a number of them is not finite (unless the config has
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

    def check_shapes(self, outputs: Arrays, rows: int) -> None:
        """BadModelOutput where an output is missing, or of another dtype or shape."""
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
        """The same where something is wrong, for each request alone: its neighbours keep their answers."""
        results: list[Texts | BadModelOutput] = []
        start = 0
        for count in counts:
            part = {name: array[start : start + count] for name, array in outputs.items()}
            start += count
            results += self.texts(part, [count])
        return results

    def _split(self, array: Array, tensor: Tensor, counts: Sequence[int]) -> list[bytes]:
        """The JSON of an output once for all rows, cut between the requests. _NotFinite, UnicodeDecodeError."""
        strings = array.dtype == np.object_
        values = _strings(array) if strings else np.ascontiguousarray(array)
        text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
        # What JSON has no number for is written as null; looking for that is quicker than asking numpy.
        if not strings and not self._nullable and b"null" in text:
            raise _NotFinite
        if len(counts) == 1:
            return [text[1:-1]]
        if strings or not array.size:
            # A string may hold what stands between rows, and nothing stands between rows of nothing.
            rows = [orjson.dumps(row) for row in (values if strings else array.tolist())]
            opening = closing = b""
            separator = b","
        else:
            depth = len(tensor.dims)
            opening, closing = b"[" * depth, b"]" * depth
            separator = closing + b"," + opening
            rows = text[1 + depth : -1 - depth].split(separator)
        parts: list[bytes] = []
        start = 0
        for count in counts:
            row = rows[start] if count == 1 else separator.join(rows[start : start + count])
            parts.append(opening + row + closing)
            start += count
        return parts


def _strings(array: Array) -> Any:
    """UTF-8 bytes as nested lists of text. UnicodeDecodeError."""
    flat = np.empty(array.size, dtype=np.object_)
    flat[:] = [item.decode() for item in array.ravel().tolist()]
    return flat.reshape(array.shape).tolist()


def _row_shapes(part: Texts) -> tuple[tuple[int, ...], ...]:
    """The shape of a row of each output."""
    return tuple(np.shape(orjson.loads(b"[" + text + b"]")[0]) for text in part)


def _bad_output(inside: str) -> BadModelOutput:
    return BadModelOutput("The model's answer is not what its config promises.", inside)
