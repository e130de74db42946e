"""What the adapter and a host say to each other: one call has the rows of several models, and one answer theirs.

All rows of a tensor have one shape, and those of several models do not. So a call is one tensor of bytes:

    head    parts, version (uint32 each), key (32 bytes)
    part    size, kind, tensors, text bytes, number (uint32, 2 x uint16, 2 x uint32); text
    tensor  axes, 0 (uint32 each), bytes (uint64); sizes of the axes (uint32 each), the rows first; values

Numbers are little-endian; each text, each list of sizes and each tensor's values begin at a multiple of 8, from the
head's first byte. Values are in C order, and their dtype is known to both sides. The runtime inside Triton has its own
copy, runtime/host/envelope.py; tests/unit/runtime/test_envelope.py holds them equal.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

VERSION = 1
KEY_BYTES = 32
_HEAD = struct.Struct(f"<II{KEY_BYTES}s")
_PART = struct.Struct("<IHHII")
_TENSOR = struct.Struct("<IIQ")
_ALIGNED = 8
_PADDING = (b"", bytes(7), bytes(6), bytes(5), bytes(4), bytes(3), bytes(2), bytes(1))
# More than any model has.
_MOST_AXES = 32

# Kinds of a call's parts. The text is the model's key, `<Triton model>/<version>`; LOAD, EVICT and DESCRIBE have no
# tensors, and DESCRIBE no text.
INFER, LOAD, EVICT, DESCRIBE = range(4)
# Kinds of an answer's parts. The text is an error's, or JSON if nothing was to be inferred. LOADING: try again soon.
# The number is how many microseconds the model took.
OK, FAILED, LOADING = range(3)


class RawTensor(NamedTuple):
    """A tensor's shape, the rows first, and its values."""

    shape: tuple[int, ...]
    values: bytes | memoryview


class Part(NamedTuple):
    """One model's part of a call or an answer."""

    kind: int
    text: bytes
    tensors: Sequence[RawTensor] = ()
    number: int = 0


def frame_head(parts: int, key: bytes) -> bytes:
    """Return the head of an envelope of so many parts."""
    return _HEAD.pack(parts, VERSION, key)


def frame_part(kind: int, text: bytes, tensors: Sequence[tuple[tuple[int, ...], int]], number: int = 0) -> list[bytes]:
    """Return what stands before, between and after the values of a part's tensors.

    These are each a shape and how many bytes its values are; they alone tell what it is, so it can be kept.
    """
    frames = [text + _PADDING[len(text) % _ALIGNED]]
    for shape, size in tensors:
        axes = len(shape)
        frames[-1] += _TENSOR.pack(axes, 0, size) + struct.pack(f"<{axes}I" if axes % 2 == 0 else f"<{axes}I4x", *shape)
        frames.append(_PADDING[size % _ALIGNED])
    length = _PART.size + sum(map(len, frames)) + sum(size for _, size in tensors)
    frames[0] = _PART.pack(length, kind, len(tensors), len(text), number) + frames[0]
    return frames


class ExpectedPart:
    """The only part of an envelope, if it is as expected: all of it is known but the values and the number.

    Most answers are; to look whether one is takes less than to read it.
    """

    def __init__(self, kind: int, text: bytes, tensors: Sequence[tuple[tuple[int, ...], int]]) -> None:
        frames = frame_part(kind, text, tensors)
        frames[0] = frame_head(1, bytes(KEY_BYTES)) + frames[0]
        # Where each tensor's values begin.
        self.places: list[int] = []
        self._known: list[tuple[int, int, bytes]] = []
        self._number = _HEAD.size + _PART.size - 4
        position = 0
        for frame, size in zip(frames, [*(size for _, size in tensors), 0], strict=True):
            end = position + len(frame)
            self._known.append((position, end, frame))
            self.places.append(end)
            position = end + size
        self._size = position
        # The key and the number may be any.
        _, end, first = self._known.pop(0)
        before, after = _HEAD.size, self._number
        self._known += [(0, 8, first[:8]), (before, after, first[before:after]), (after + 4, end, first[after + 4 :])]

    def find_number(self, data: bytes) -> int | None:
        """Return the number of the part that an envelope has; None if it is not the expected one."""
        if len(data) != self._size:
            return None
        for start, end, known in self._known:
            if data[start:end] != known:
                return None
        return int.from_bytes(data[self._number : self._number + 4], "little")


def write_envelope(parts: Sequence[Part], key: bytes = bytes(KEY_BYTES)) -> bytes:
    """Write a call, with the host's secret key, or an answer."""
    chunks: list[bytes | memoryview] = [frame_head(len(parts), key)]
    for kind, text, tensors, number in parts:
        frames = frame_part(kind, text, [(shape, len(values)) for shape, values in tensors], number)
        for frame, (_, values) in zip(frames, tensors, strict=False):
            chunks += frame, values
        chunks.append(frames[-1])
    return b"".join(chunks)


def read_envelope(data: memoryview) -> tuple[bytes, list[Part]]:
    """Return the key and the parts of an envelope; values are views of `data`. Raises ValueError if it is none."""
    try:
        count, version, key = _HEAD.unpack_from(data)
        if version != VERSION:
            raise ValueError(f"an envelope of version {version}, not {VERSION}")
        parts = []
        position = _HEAD.size
        for _ in range(count):
            size, kind, tensors, text_size, number = _PART.unpack_from(data, position)
            end = position + size
            if size < _PART.size or size % _ALIGNED or end > len(data):
                raise ValueError("a part that is cut short")
            parts.append(_read_part(data, position + _PART.size, end, (kind, tensors, text_size, number)))
            position = end
    except struct.error as error:
        raise ValueError("an envelope that is cut short") from error
    return key, parts


def _read_part(data: memoryview, position: int, end: int, head: tuple[int, int, int, int]) -> Part:
    kind, count, text_size, number = head
    text = bytes(data[position : position + text_size])
    position += text_size + -text_size % _ALIGNED
    tensors = []
    for _ in range(count):
        axes, _, size = _TENSOR.unpack_from(data, position)
        if axes > _MOST_AXES:
            raise ValueError(f"a tensor of {axes} axes")
        position += _TENSOR.size
        shape = struct.unpack_from(f"<{axes}I", data, position)
        position += axes * 4 + axes % 2 * 4
        tensors.append(RawTensor(shape, data[position : position + size]))
        position += size + -size % _ALIGNED
        if position > end:
            break
    if position > end or len(text) != text_size:
        raise ValueError("a part that is cut short")
    return Part(kind, text, tensors, number)
