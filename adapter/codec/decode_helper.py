"""The process that reads large bodies: `python -m adapter.codec.decode_helper DESCRIPTOR`, started by off_loop.py.

It reads one body after the other, with the very code that small ones are read with, and gives back tensors, or texts
in slices, in anonymous memory that the adapter maps. It ends when the adapter does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import Any

import msgspec
import numpy as np

from adapter.codec import helper_messages as messages
from adapter.codec.codec import make_parser
from adapter.codec.decode import Features, RowsOfTensors
from adapter.errors import BadFeatures, MalformedJson
from converter.schema.manifest import ModelEntry

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read bodies, one after the other, until the other end of the socket is closed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The loop goes first: it has other clients' requests.
    os.nice(messages.NICE)
    parsers: dict[bytes, RowsOfTensors] = {}
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        while (received := messages.receive(sock, messages.DecodeRequest)) is not None:
            request, content = received
            with messages.map_bytes(content, request.entry + request.body) as data:
                entry, body = bytes(data[request.body :]), bytes(data[: request.body])
            parser = parsers.get(entry)
            if parser is None:
                # One model's versions follow each other: there is no use in those before.
                parser = make_parser(ModelEntry.model_validate_json(entry))
                parsers = {entry: parser}
            head, pieces = decode(parser, body)
            reply(sock, head, pieces)


def reply(sock: socket.socket, head: messages.DecodedHead, pieces: list[bytes]) -> None:
    """Send a head and its pieces, all in anonymous memory; the message says how long they are."""
    raw = msgspec.json.encode(head)
    with open(os.memfd_create("schwift-body", os.MFD_CLOEXEC), "wb", buffering=0) as memory:
        for piece in (raw, *pieces):
            messages.write(memory.fileno(), piece)
        messages.hand_over(sock, messages.DecodeReply(len(raw), len(raw) + sum(map(len, pieces))), memory.fileno())


def decode(parser: RowsOfTensors, body: bytes) -> tuple[messages.DecodedHead, list[bytes]]:
    """Return what `parser` makes of a body: the head says what the pieces are."""
    try:
        features = parser.parse(body)
    except (MalformedJson, BadFeatures) as error:
        return messages.DecodedHead(0, [], type(error).__name__, error.detail), []
    rows = len(features[0])
    try:
        arrays = parser.to_arrays([features])
    except BadFeatures as error:
        return messages.DecodedHead(rows, [], type(error).__name__, error.detail), []
    return _packed(rows, features, list(arrays.values()), len(body))


def _packed(rows: int, features: Features, arrays: list[Any], size: int) -> tuple[messages.DecodedHead, list[bytes]]:
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
    return messages.DecodedHead(rows, parts, "", ""), pieces


if __name__ == "__main__":
    main()
