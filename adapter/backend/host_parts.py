"""A packed model's part of a host's call, of which only sizes and values change from call to call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter.backend.protocol import Arrays
from adapter.backend.raw_tensors import pack_tensors, unpack_tensors
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry
from converter.schema.packs.envelope import INFER, OK, ExpectedPart, Part, frame_part

# Shapes whose frames are kept; a model takes up to some hundred rows a call.
_MOST_KNOWN = 1024


class PartForm:
    """Write the parts of one packed model, and read their answers."""

    def __init__(self, entry: ModelEntry) -> None:
        self._entry = entry
        self._key = entry.member.encode()
        inputs, outputs = (
            [wire for tensor in tensors for wire in tensor.pack()] for tensors in (entry.inputs, entry.outputs)
        )
        self._names = [tensor.name for tensor in inputs]
        self._outputs = [(tensor.name, np.dtype(dtypes.by_name(tensor.dtype).numpy)) for tensor in outputs]
        # With no string among them nothing is packed.
        self._plain_inputs = tuple(inputs) == entry.inputs
        self._plain_outputs = tuple(outputs) == entry.outputs
        # The shape of an answer is known before if no size in it is free, as a string's is.
        self._is_fixed = self._plain_outputs and not any(-1 in tensor.dims for tensor in outputs)
        self._answers: dict[int, tuple[ExpectedPart, list[Any]]] = {}
        self._known: dict[tuple[tuple[int, ...], ...], list[bytes]] = {}

    def write(self, arrays: Arrays) -> list[bytes]:
        """Return the part of a call with these arrays, which are by the inputs' names, in pieces."""
        if not self._plain_inputs:
            arrays = pack_tensors(self._entry.inputs, arrays)
        values = [arrays[name] for name in self._names]
        shapes = tuple([array.shape for array in values])
        frames = self._known.get(shapes)
        if frames is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            tensors = [(array.shape, array.nbytes) for array in values]
            frames = self._known[shapes] = frame_part(INFER, self._key, tensors)
        pieces: list[bytes] = []
        for i, array in enumerate(values):
            pieces.append(frames[i])
            pieces.append(array.tobytes())
        pieces.append(frames[-1])
        return pieces

    def read_lone(self, answer: bytes, rows: int) -> tuple[Arrays, int] | None:
        """Return the outputs and the number of an answer that has this model's part alone, in the form it promises.

        That is for so many rows; None if the answer has another form, or if the form is not known before.
        """
        known = self._answers.get(rows)
        if known is None:
            if not self._is_fixed:
                return None
            if len(self._answers) >= _MOST_KNOWN:
                self._answers.clear()
            known = self._answers[rows] = self._expect(rows)
        expected, outputs = known
        number = expected.find_number(answer)
        if number is None:
            return None
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, dtype, count, place, shape in outputs:
            arrays[name] = np.frombuffer(answer, dtype, count, place).reshape(shape)
        return arrays, number

    def _expect(self, rows: int) -> tuple[ExpectedPart, list[Any]]:
        shapes = [(rows, *tensor.dims) for tensor in self._entry.outputs]
        counts = [math.prod(shape) for shape in shapes]
        sizes = [count * dtype.itemsize for count, (_, dtype) in zip(counts, self._outputs, strict=True)]
        expected = ExpectedPart(OK, b"", list(zip(shapes, sizes, strict=True)))
        places = expected.places[: len(shapes)]
        names, dtypes_ = zip(*self._outputs, strict=True)
        return expected, list(zip(names, dtypes_, counts, places, shapes, strict=True))

    def read(self, part: Part) -> Arrays:
        """Return the outputs of an answer's part by name; raise ValueError if they are not the config's."""
        if len(part.tensors) != len(self._outputs):
            raise ValueError(f"{len(part.tensors)} outputs, not {len(self._outputs)}")
        arrays = {
            name: np.frombuffer(values, dtype).reshape(shape)
            for (name, dtype), (shape, values) in zip(self._outputs, part.tensors, strict=True)
        }
        return arrays if self._plain_outputs else unpack_tensors(self._entry.outputs, arrays)
