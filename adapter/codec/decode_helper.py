"""The process that reads large bodies: `python -m adapter.codec.decode_helper DESCRIPTOR`, started by off_loop.py.

It reads one body after the other, with the very code that small ones are read with, and gives back tensors, or texts
in slices, in anonymous memory that the adapter maps. It ends when the adapter does.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np

from adapter.codec import helper_messages as messages
from adapter.codec.codec import make_parser
from adapter.codec.decode import Features, RowsOfTensors
from adapter.errors import BadFeatures, BadTensor, MalformedJson, SchemaMismatch
from converter.schema.manifest import ModelEntry

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read bodies, one after the other, until the other end of the socket is closed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The loop goes first: it has other clients' requests.
    os.nice(messages.NICE)
    parsers: dict[bytes, RowsOfTensors] = {}
    readers: dict[str, Any] = {}
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        while (received := messages.receive(sock, messages.DecodeRequest)) is not None:
            request, content = received
            with messages.map_bytes(content, request.entry + request.body) as data:
                entry, body = bytes(data[request.body :]), bytes(data[: request.body])
            parser = parsers.get(entry)
            if parser is None:
                # One model's versions follow each other: there is no use in those before.
                parser = make_parser(ModelEntry.model_validate_json(entry))
                parsers, readers = {entry: parser}, {}
            head, pieces = decode(parser, body, _other_dialect(readers, request, entry))
            reply(sock, head, pieces)


def _other_dialect(
    readers: dict[str, Any], request: messages.DecodeRequest, entry: bytes
) -> Callable[[bytes], tuple[Features, str]] | None:
    """Return what reads a body of another dialect, with the module that the adapter named; None for our own."""
    if not request.reader:
        return None
    module = importlib.import_module(request.reader)
    if request.reader not in readers:
        readers[request.reader] = module.make_reader(ModelEntry.model_validate_json(entry))
    return partial(module.read_large, readers[request.reader], note=request.note)


def reply(sock: socket.socket, head: messages.DecodedHead, pieces: list[bytes]) -> None:
    """Send a head and its pieces, all in anonymous memory; the message says how long they are."""
    raw = msgspec.json.encode(head)
    with open(os.memfd_create("schwift-body", os.MFD_CLOEXEC), "wb", buffering=0) as memory:
        for piece in (raw, *pieces):
            messages.write(memory.fileno(), piece)
        messages.hand_over(sock, messages.DecodeReply(len(raw), len(raw) + sum(map(len, pieces))), memory.fileno())


def decode(
    parser: RowsOfTensors, body: bytes, read: Callable[[bytes], tuple[Features, str]] | None = None
) -> tuple[messages.DecodedHead, list[bytes]]:
    """Return what `parser` makes of a body, or `read` of one of another dialect: the head says what the pieces are."""
    note = ""
    try:
        if read is None:
            features = parser.parse(body)
        else:
            features, note = read(body)
    except (MalformedJson, BadFeatures, BadTensor, SchemaMismatch) as error:
        return messages.DecodedHead(0, [], type(error).__name__, error.detail), []
    rows = len(features[0])
    try:
        arrays = parser.to_arrays([features])
    except BadFeatures as error:
        return messages.DecodedHead(rows, [], type(error).__name__, error.detail, note), []
    parts, pieces = _packed(rows, features, list(arrays.values()), len(body))
    return messages.DecodedHead(rows, parts, "", "", note), pieces


def _packed(rows: int, features: Features, arrays: list[Any], size: int) -> tuple[list[messages.PartOf], list[bytes]]:
    parts: list[messages.PartOf] = []
    pieces: list[bytes] = []
    a_slice = -(-rows // max(1, size // messages.SLICE_BYTES))
    for values, array in zip(features, arrays, strict=True):
        if array.dtype == np.object_:
            texts = [msgspec.msgpack.encode(values[start : start + a_slice]) for start in range(0, rows, a_slice)]
            parts.append(messages.PartOf("", [], [len(text) for text in texts]))
            pieces += texts
        else:
            pieces.append(array.tobytes())
            parts.append(messages.PartOf(array.dtype.str, list(array.shape), [len(pieces[-1])]))
    return parts, pieces


if __name__ == "__main__":
    main()
