"""A model's request to Triton, of which only sizes and values change from call to call."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from adapter.backend.protocol import Arrays
from adapter.backend.raw_tensors import pack_tensors, to_raw, unpack_tensors
from converter.schema import dtypes
from converter.schema.manifest import ModelEntry

_HEAD = b"POST /v2/models/%b/infer HTTP/1.1\r\nHost: %b\r\nInference-Header-Content-Length: "
# Shapes whose text is kept; a model takes up to some hundred rows a call.
_MOST_KNOWN = 1024


class InferRequest:
    """Write the requests for calls of one Triton model of an entry; `address` is what their Host header says.

    `outputs` has what Triton answers with, by name. With `packed` that is to be unpacked.
    """

    def __init__(self, model: str, address: bytes, entry: ModelEntry) -> None:
        self.entry = entry
        self.packed = entry.packs_strings and model == entry.direct
        inputs, outputs = (
            [wire for tensor in tensors for wire in (tensor.pack() if self.packed else (tensor,))]
            for tensors in (entry.inputs, entry.outputs)
        )
        self.outputs = {tensor.name: tensor for tensor in outputs}
        self._names = [tensor.name for tensor in inputs]
        # A model's name is letters, digits, dots, dashes and underscores: nothing to escape.
        self._head = _HEAD % (model.encode(), address)
        wanted = [{"name": tensor.name, "parameters": {"binary_data": True}} for tensor in outputs]
        self._tail = b',"outputs":' + orjson.dumps(wanted) + b"}"
        self._starts = [
            b'{"name":%b,"datatype":"%b","shape":'
            % (orjson.dumps(tensor.name), dtypes.by_name(tensor.dtype).triton.encode())
            for tensor in inputs
        ]
        # A single input of numbers: its shape is all that the text depends on.
        self._simple = self._names[0] if len(inputs) == 1 and dtypes.by_name(inputs[0].dtype).json != "string" else None
        self._known: dict[tuple[int, ...], bytes] = {}

    def fill(self, arrays: Arrays, queue_timeout: float | None, more_head: bytes, request_id: str) -> bytes:
        """Return the whole HTTP request of a call with these arrays, which are by the inputs' names.

        `queue_timeout` in seconds is what Triton's queue may keep it; `more_head` are more whole headers.
        `request_id` is what the model sees as the call's id; empty is none.
        """
        if self._simple is not None and queue_timeout is None and not more_head and not request_id:
            array = arrays[self._simple]
            raw = array.tobytes()
            text = self._known.get(array.shape)
            if text is None:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                text = self._known[array.shape] = self._text([(array.shape, len(raw))], None, b"", "")
            return text + raw
        if self.packed:
            arrays = pack_tensors(self.entry.inputs, arrays)
        raws = [to_raw(arrays[name]) for name in self._names]
        shapes = [(arrays[name].shape, len(raw)) for name, raw in zip(self._names, raws, strict=True)]
        return self._text(shapes, queue_timeout, more_head, request_id) + b"".join(raws)

    def unpack(self, arrays: Arrays) -> Arrays:
        """Return the outputs of an answer with packed strings. Raises ValueError, KeyError if they are not whole."""
        return unpack_tensors(self.entry.outputs, arrays)

    def _text(
        self,
        shapes: Sequence[tuple[tuple[int, ...], int]],
        queue_timeout: float | None,
        more_head: bytes,
        request_id: str,
    ) -> bytes:
        """Return all of a request but its tensors' values; `shapes` has the bytes of each beside its shape."""
        described = [
            b'%b%b,"parameters":{"binary_data_size":%d}}' % (start, orjson.dumps(shape), size)
            for start, (shape, size) in zip(self._starts, shapes, strict=True)
        ]
        start = b'{"id":%b,' % orjson.dumps(request_id) if request_id else b"{"
        if queue_timeout is not None:
            # A positive integer of microseconds: Triton answers 500 to anything else.
            start += b'"parameters":{"timeout":%d},' % max(1, int(queue_timeout * 1e6))
        start += b'"inputs":['
        header = start + b",".join(described) + b"]" + self._tail
        length = len(header) + sum(size for _, size in shapes)
        return b"%b%d\r\nContent-Length: %d\r\n%b\r\n%b" % (self._head, len(header), length, more_head, header)
