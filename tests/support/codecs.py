"""A codec's steps in a row, as one request goes through them alone."""

from __future__ import annotations

from adapter.codec.codec import Codec
from adapter.codec.encode import Arrays
from adapter.errors import BadModelOutput
from converter.schema.manifest import ModelEntry


def rows_of(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


class Coded:
    def __init__(self, entry: ModelEntry) -> None:
        self.codec = Codec(entry)

    def decode(self, body: bytes) -> Arrays:
        """The tensors of a body; its rows are counted alike before and after."""
        features = self.codec.request.parse(body)
        arrays = self.codec.request.to_arrays([features])
        assert {len(part) for part in features} == {rows_of(arrays)}
        return arrays

    def encode(self, outputs: Arrays) -> bytes:
        (texts,) = self.codec.answer.texts(outputs, [rows_of(outputs)])
        if isinstance(texts, BadModelOutput):
            raise texts
        return self.codec.answer.body([texts])

    def check(self, outputs: Arrays, rows: int) -> None:
        self.codec.answer.check_shapes(outputs, rows)
        self.encode(outputs)
