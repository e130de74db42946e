"""Which other files an ONNX graph takes its weights from, read from the protobuf itself.

ONNX Runtime opens whatever path the graph names. The fields are those of onnx.proto: every message that can have a
tensor in it is walked, with no library, since none that reads graphs is needed to serve them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

_TENSOR, _ENTRY = "tensor", "entry"
# For each message its fields that lead to tensors.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {13: _ENTRY},
}
_MOST_DEPTH = 100
_KEY = b"location"


class DamagedGraph(Exception):
    """The bytes are no protobuf message."""


def find_locations(path: Path) -> set[str]:
    """Return the paths of external data as the graph has them. Raises DamagedGraph if it cannot be read."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(_KEY) < 0:
            # Such a path stands under this word: most graphs need no walk.
            return set()
        with memoryview(content) as view:
            try:
                return set(_walk(view, "model", 0))
            except (DamagedGraph, IndexError, UnicodeDecodeError) as error:
                why = str(error)
    # Not within: the error's frames hold parts of the view, and while they do the file cannot be unmapped.
    raise DamagedGraph(why)


def _walk(data: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        raise DamagedGraph("nested too deeply")
    fields = _FIELDS[kind]
    for number, content in _read_messages(data):
        inner = fields.get(number)
        if inner == _ENTRY:
            # A field that stands twice counts with its last.
            entry = {number: bytes(text) for number, text in _read_messages(content)}
            if entry.get(1) == _KEY:
                yield entry.get(2, b"").decode()
        elif inner is not None:
            yield from _walk(content, inner, depth + 1)


def _read_messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Read the fields of a message that have a length, with their numbers."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _read_varint(data, position)
        kind = tag & 7
        if kind == 0:
            _, position = _read_varint(data, position)
        elif kind == 1:
            position += 8
        elif kind == 5:
            position += 4
        elif kind == 2:
            length, position = _read_varint(data, position)
            if position + length > end:
                raise DamagedGraph("a field is cut short")
            yield (tag & 0xFFFFFFFF) >> 3, data[position : position + length]
            position += length
        else:
            raise DamagedGraph("a group, which ONNX does not have")


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise DamagedGraph("a number is too long")
