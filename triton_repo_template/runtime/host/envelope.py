"""What a host is asked in one call, with the rows of several models, and its answer, as bytes.

The format, and what each word means, is in converter/schema/packs/envelope.py: tests/unit/runtime/test_envelope.py
holds the two equal.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

VERSION = 1
KEY_BYTES = 32
_HEAD = struct.Struct(f"<II{KEY_BYTES}s")
_PART = struct.Struct("<IHHII")
_TENSOR = struct.Struct("<IIQ")
# The last of a part's head.
_NUMBER_BYTES = 4
_ALIGNED = 8
_PADDING = (b"", bytes(7), bytes(6), bytes(5), bytes(4), bytes(3), bytes(2), bytes(1))
_MOST_AXES = 32
# The sizes of a tensor's axes, by how many there are.
_SIZES = tuple(struct.Struct(f"<{axes}I{axes % 2 * 4}x") for axes in range(_MOST_AXES + 1))

# Kinds of a call's parts, and of an answer's.
INFER, LOAD, EVICT, DESCRIBE = range(4)
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


def write_envelope(parts: Sequence[Part], key: bytes = bytes(KEY_BYTES)) -> bytearray:
    """Write a call, with the host's secret key, or an answer."""
    chunks: list[bytes | memoryview] = [_HEAD.pack(len(parts), VERSION, key)]
    for kind, text, tensors, number in parts:
        head = len(chunks)
        chunks += b"", text, _PADDING[len(text) % _ALIGNED]
        size = _PART.size + len(text) + -len(text) % _ALIGNED
        for shape, values in tensors:
            length = len(values)
            sizes = _SIZES[len(shape)]
            chunks += _TENSOR.pack(len(shape), 0, length), sizes.pack(*shape), values, _PADDING[length % _ALIGNED]
            size += _TENSOR.size + sizes.size + length + -length % _ALIGNED
        chunks[head] = _PART.pack(size, kind, len(tensors), len(text), number)
    return bytearray().join(chunks)


def write_lone_answer(tensor: RawTensor, number: int) -> bytearray:
    """Write an answer of one part with one tensor: those of a shape differ in its number and values alone."""
    shape, values = tensor
    before, after, padding = _frame_lone(shape, len(values))
    return bytearray().join((before, number.to_bytes(_NUMBER_BYTES, "little"), after, values, padding))


@lru_cache(maxsize=1024)
def _frame_lone(shape: tuple[int, ...], size: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before and after the number of such an answer, and after its values."""
    whole = bytes(write_envelope([Part(OK, b"", [RawTensor(shape, bytes(size))])]))
    number = _HEAD.size + _PART.size - _NUMBER_BYTES
    padding = _PADDING[size % _ALIGNED]
    return whole[:number], whole[number + _NUMBER_BYTES : len(whole) - size - len(padding)], padding


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
        sizes = _SIZES[axes]
        shape = sizes.unpack_from(data, position)
        position += sizes.size
        tensors.append(RawTensor(shape, data[position : position + size]))
        position += size + -size % _ALIGNED
        if position > end:
            break
    if position > end or len(text) != text_size:
        raise ValueError("a part that is cut short")
    return Part(kind, text, tensors, number)
