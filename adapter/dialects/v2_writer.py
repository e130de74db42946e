"""A model's answer → the body of a V2 inference response, in JSON or with raw tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from adapter.backend.raw_tensors import to_raw
from adapter.codec.encode import Texts
from adapter.dialects.v2_reader import V2Asked
from adapter.errors import BadModelOutput
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry

_BRACKETS = b"[]"


class V2Writer:
    """Write the V2 answers of one model."""

    def __init__(self, entry: ModelEntry) -> None:
        self._tensors = entry.outputs
        self._dtypes = [dtypes.by_name(tensor.dtype) for tensor in entry.outputs]
        # What each output's text begins with, up to its number of rows, and how it goes on up to its data.
        self._starts = [
            b'{"name":%b,"datatype":"%b","shape":[' % (orjson.dumps(tensor.name), dtype.triton.encode())
            for tensor, dtype in zip(entry.outputs, self._dtypes, strict=True)
        ]
        self._sizes = [
            b"".join([b",%d" % size for size in tensor.dims]) + b'],"data":[' for tensor in entry.outputs
        ]  # fmt: skip
        self._head = b'{"model_name":%b,"model_version":"%d"' % (orjson.dumps(entry.name), entry.version)
        # The sizes of the axes are in arrays alone.
        self._free = any(-1 in tensor.dims for tensor in entry.outputs)
        self._all = {raw: [(i, raw) for i in range(len(entry.outputs))] for raw in (False, True)}

    def needs_arrays(self, asked: V2Asked) -> bool:
        """Return whether the answer to a request is written from arrays, and not from the JSON of its rows."""
        if asked.outputs is None:
            return self._free or asked.raw
        return self._free or any([raw for _, raw in asked.outputs])

    def write(self, parts: Sequence[Texts], rows: int, asked: V2Asked) -> tuple[bytes, int | None]:
        """Return the body of an answer of so many rows, and how much of it is JSON; None if all is.

        Raises: BadModelOutput if the parts are no tensor.
        """
        pieces = [self._head]
        if asked.id is not None:
            pieces += (b',"id":', orjson.dumps(asked.id))
        arrays = self.needs_arrays(asked)
        raws: list[bytes] = []
        lead = b',"outputs":['
        for place, raw in self._outputs(asked):
            pieces.append(lead)
            lead = b","
            if not arrays:
                pieces += self._from_texts(place, rows, [part[place] for part in parts])
                continue
            array = _join([part[place] for part in parts])
            shape = orjson.dumps(array.shape)[1:]
            if raw:
                raws.append(to_raw(array))
                size = b',"parameters":{"binary_data_size":%d}}' % len(raws[-1])
                pieces += (self._starts[place], shape, size)
            else:
                pieces += (self._starts[place], shape, b',"data":', _json(array), b"}")
        pieces.append(b"]}")
        head = b"".join(pieces)
        if not raws:
            return head, None
        return b"".join([head, *raws]), len(head)

    def tensors(self, parts: Sequence[Texts], asked: V2Asked) -> list[tuple[str, str, list[int], bytes]]:
        """Return name, datatype, shape and raw values of each output that is asked for, of parts that are arrays.

        Raises: BadModelOutput if the parts are no tensor.
        """
        found = []
        for place, _ in self._outputs(asked):
            array = _join([part[place] for part in parts])
            found.append((self._tensors[place].name, self._dtypes[place].triton, list(array.shape), to_raw(array)))
        return found

    def _outputs(self, asked: V2Asked) -> Sequence[tuple[int, bool]]:
        return self._all[asked.raw] if asked.outputs is None else asked.outputs

    def _from_texts(self, place: int, rows: int, texts: Sequence[bytes]) -> Sequence[bytes]:
        """Return the JSON of an output, whose rows are JSON already: flat, as V2 has it."""
        text = texts[0] if len(texts) == 1 else b",".join(texts)
        if self._dtypes[place].json != "string":
            flat = text.translate(None, _BRACKETS)
        else:
            values = orjson.loads(b"[" + text + b"]")
            for _ in self._tensors[place].dims:
                values = list(chain.from_iterable(values))
            flat = orjson.dumps(values)[1:-1]
        return self._starts[place], b"%d" % rows, self._sizes[place], flat, b"]}"


def _join(arrays: Sequence[Any]) -> npt.NDArray[Any]:
    if len({array.shape[1:] for array in arrays}) > 1:
        raise BadModelOutput(
            "The model's answer is not what its config promises.", "the parts of a request differ in shape"
        )
    array: npt.NDArray[Any] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return array


def _json(array: npt.NDArray[Any]) -> bytes:
    if array.dtype != np.object_:
        return orjson.dumps(np.ascontiguousarray(array).ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    try:
        return orjson.dumps([item.decode() for item in array.ravel().tolist()])
    except UnicodeDecodeError:
        raise BadModelOutput("The model's answer is not what its config promises.", "a string is not UTF-8") from None
