"""The process that reads large bodies, as the adapter speaks with it: memory in, memory out, over one socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from adapter.codec.codec import Codec
from adapter.codec.decode_helper import decode
from adapter.codec.helper_messages import (
    NICE,
    SLICE_BYTES,
    DecodedHead,
    DecodeReply,
    DecodeRequest,
    hand_over,
    map_bytes,
    receive,
    write,
)
from converter.schema.manifest import ModelEntry, entry_json
from tests.support.fakes.entries import make_entry
from tests.support.forking import Fork, forked, run_as_program

NUMBERS = make_entry(inputs=(("x", "float32", (2,)),))
SMALL = make_entry(inputs=(("x", "int8", (2,)),))
MIXED = make_entry(inputs=(("a", "int64", (1,)), ("b", "string", (2,))))


class Helper:
    """The helper in a fork of this process."""

    def __init__(self, fork: Fork, sock: socket.socket) -> None:
        self.fork = fork
        self.sock = sock

    def ask(self, entry: ModelEntry, body: bytes) -> tuple[DecodedHead, bytes]:
        """What it says of a body, and the bytes of its pieces."""
        given = entry_json(entry).encode()
        with open(os.memfd_create("body"), "wb", buffering=0) as memory:
            write(memory.fileno(), body)
            write(memory.fileno(), given)
            hand_over(self.sock, DecodeRequest(len(body), len(given)), memory.fileno())
        received = receive(self.sock, DecodeReply)
        assert received is not None
        reply, content = received
        with map_bytes(content, reply.size) as data:
            head = msgspec.json.decode(bytes(data[: reply.head]), type=DecodedHead)
            pieces = bytes(data[reply.head :])
        assert len(pieces) == sum(sum(part.sizes) for part in head.parts)
        return head, pieces


@pytest.fixture
def helper() -> Iterator[Helper]:
    """It ends with its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def read() -> None:
        ours.close()
        run_as_program("adapter.codec.decode_helper", [str(theirs.detach())])

    with forked(read) as fork:
        theirs.close()
        with contextlib.closing(ours):
            ours.settimeout(30)
            yield Helper(fork, ours)
        assert fork.wait() == 0


def body(features: Any) -> bytes:
    return json.dumps({"features": features}).encode()


def test_numbers_come_as_they_are_in_memory(helper: Helper) -> None:
    head, pieces = helper.ask(NUMBERS, body([[1, 2.5], [3, 4]]))
    assert (head.rows, head.error, head.detail) == (2, "", "")
    (part,) = head.parts
    assert (part.dtype, part.shape, part.sizes) == ("<f4", [2, 2], [16])
    assert np.frombuffer(pieces, part.dtype).reshape(part.shape).tolist() == [[1.0, 2.5], [3.0, 4.0]]


def test_texts_come_in_slices_beside_numbers(helper: Helper) -> None:
    rows = 3000
    texts = [[f"{number}:é", "x" * 100] for number in range(rows)]
    asked = body({"a": [[number] for number in range(rows)], "b": texts})
    head, pieces = helper.ask(MIXED, asked)
    numbers, words = head.parts
    assert (head.rows, numbers.dtype, numbers.shape, words.dtype) == (rows, "<i8", [rows, 1], "")
    assert np.frombuffer(pieces[: numbers.sizes[0]], "<i8").tolist() == list(range(rows))
    assert len(words.sizes) == len(asked) // SLICE_BYTES == 2
    got: list[Any] = []
    start = numbers.sizes[0]
    for size in words.sizes:
        got += msgspec.msgpack.decode(pieces[start : start + size])
        start += size
    assert got == texts


def test_what_is_wrong_has_the_name_of_its_error_and_the_rows_if_they_are_known(helper: Helper) -> None:
    head, pieces = helper.ask(SMALL, body([[1, 2], [3, 300]]))
    assert (head.rows, head.parts, head.error, pieces) == (2, [], "BadFeatures", b"")
    assert "features[1][1]" in head.detail
    head, _ = helper.ask(SMALL, b'{"features"')
    assert (head.rows, head.error) == (0, "MalformedJson")
    head, _ = helper.ask(SMALL, body([["a", 1]]))
    assert (head.rows, head.error) == (0, "BadFeatures")
    assert head.detail == "features[0][0]: expected an integer, got a string."


def test_models_take_turns_and_each_has_its_own_rules(helper: Helper) -> None:
    asked = body([[300, 1]])
    said = [helper.ask(entry, asked)[0].error for entry in (NUMBERS, NUMBERS, SMALL, NUMBERS, SMALL, SMALL)]
    assert said == ["", "", "BadFeatures", "", "BadFeatures", "BadFeatures"]


def test_it_goes_behind_the_loop(helper: Helper) -> None:
    assert helper.ask(NUMBERS, body([[1, 2]]))[0].rows == 1
    assert os.getpriority(os.PRIO_PROCESS, helper.fork.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE)


def test_message_without_memory_ends_it(helper: Helper) -> None:
    helper.sock.send(msgspec.json.encode(DecodeRequest(1, 1)))
    assert helper.fork.wait() == 0


def test_pieces_are_what_the_parser_makes() -> None:
    """Here, without the socket: the head and the pieces belong together."""
    parser = Codec(MIXED).request
    asked = body({"a": [[1], [2]], "b": [["x", "y"], ["", "é"]]})
    head, pieces = decode(parser, asked)
    assert [part.dtype for part in head.parts] == ["<i8", ""]
    assert [len(piece) for piece in pieces] == [size for part in head.parts for size in part.sizes]
    assert msgspec.msgpack.decode(pieces[1]) == [["x", "y"], ["", "é"]]
    assert decode(parser, b"{")[0].error == "MalformedJson"
    out_of_range = body({"a": [[1 << 70]], "b": [["x", "y"]]})
    assert (decode(parser, out_of_range)[0].rows, decode(parser, out_of_range)[0].error) == (1, "BadFeatures")
