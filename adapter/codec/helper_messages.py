"""What the adapter and its helper say to each other: a short message with a descriptor of anonymous memory."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
from collections.abc import Iterator
from typing import TypeVar

import msgspec

NICE = 19
# What the loop reads of texts in one turn.
SLICE_BYTES = 128 * 1024
_MOST_MESSAGE = 4096


class DecodeRequest(msgspec.Struct, array_like=True):
    """Ask for a body to be read: the memory has `body` bytes of it, then `entry` of a model's manifest entry.

    `reader` is the module that reads the body's dialect, empty for our own; it gets `note`.
    """

    body: int
    entry: int
    reader: str = ""
    note: str = ""


class DecodeReply(msgspec.Struct, array_like=True):
    """Answer a DecodeRequest: the memory has a DecodedHead of `head` bytes, then what it says; `size` in all."""

    head: int
    size: int


class PartOf(msgspec.Struct, array_like=True):
    """One input: numbers of a dtype and shape, or rows of texts if the dtype is empty. `sizes` are in bytes."""

    dtype: str
    shape: list[int]
    sizes: list[int]


class DecodedHead(msgspec.Struct, array_like=True):
    """What became of a body. `error` is empty or the name of a class, and `detail` its sentence.

    The rows of a body are known all the same if only a number does not fit. `note` is what a dialect's reader noted.
    """

    rows: int
    parts: list[PartOf]
    error: str
    detail: str
    note: str = ""


_Message = TypeVar("_Message", DecodeRequest, DecodeReply)


def write(memory: int, piece: bytes) -> None:
    """Add a piece to what the memory has."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(memory, rest) :]


def hand_over(sock: socket.socket, message: DecodeRequest | DecodeReply, memory: int) -> None:
    """Send a message, and the memory's descriptor with it."""
    socket.send_fds(sock, [msgspec.json.encode(message)], [memory])


def receive(sock: socket.socket, kind: type[_Message]) -> tuple[_Message, int] | None:
    """Return a message and the descriptor of its memory; None once the other end is closed."""
    raw, descriptors, _, _ = socket.recv_fds(sock, _MOST_MESSAGE, 1)
    if not raw or not descriptors:
        return None
    return msgspec.json.decode(raw, type=kind), descriptors[0]


@contextlib.contextmanager
def map_bytes(descriptor: int, size: int) -> Iterator[memoryview]:
    """Map the memory of a descriptor, and close that; what refers to the view keeps the memory."""
    try:
        mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    yield memoryview(mapped)
