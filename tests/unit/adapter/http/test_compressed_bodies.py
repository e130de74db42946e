"""Requests that come compressed: inflated within the limit of what they become, or refused."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from adapter import errors
from adapter.codec.large_bodies import LARGE_BYTES, LargeBodies, LargeBody
from adapter.http.semantics.inflated_bodies import find_coding, inflate
from tests.support.fakes.backend import FakeBackend
from tests.support.http.web_app import assert_error, post

BODY = json.dumps({"features": [[1, 2, 3, 4]]}).encode()
MIB = 1024 * 1024


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def in_members(content: bytes) -> bytes:
    return gzip.compress(content[:7]) + gzip.compress(b"") + gzip.compress(content[7:])


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "its old name": ("X-GZIP", gzip.compress),
    "gzip of several members": ("gzip", in_members),
    "deflate": (" deflate ", zlib.compress),
    "deflate without its header": ("deflate", raw_deflate),
}


def inflated(packed: bytes, coding: str, limit: int = MIB, large: bool = False) -> tuple[type, bytes, int]:
    """What it is returned as, the bytes, and the room that is taken for them."""

    async def main() -> tuple[type, bytes, int]:
        room = LargeBodies(limit)
        given: bytes | LargeBody = packed
        if large:
            given = room.begin()
            given.append(packed)
        try:
            found = await inflate(given, coding, limit, room)
        finally:
            # What was given is closed, whatever came of it.
            if large:
                with pytest.raises(OSError):
                    given.append(b"x")  # type: ignore[union-attr]
        if isinstance(found, bytes):
            return bytes, found, 0
        with open(found.memory, "rb", closefd=False) as memory:
            memory.seek(0)
            content = memory.read()
        size = len(found)
        found.close()
        return LargeBody, content, size

    return asyncio.run(main())


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_one_coding_is_taken(name: str, endpoint: str) -> None:
    coding, pack = PACKED[name]
    backend = FakeBackend()
    response = post(f"/{endpoint}/m", None, backend, content=pack(BODY), headers={"Content-Encoding": coding})
    assert response.status_code == 200, response.text
    assert [call.arrays["x"].tolist() for call in backend.calls] == [[[1, 2, 3, 4]]]


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("size", [1, 7, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, LARGE_BYTES, LARGE_BYTES + 1, MIB])
def test_every_byte_comes_out_wherever_pieces_are_cut(name: str, size: int) -> None:
    """Both of content that shrinks much, and of one that hardly does."""
    _, pack = PACKED[name]
    coding = find_coding(PACKED[name][0].encode())
    assert coding is not None
    for content in (bytes(size), bytes(i * i * 2654435761 >> 7 & 255 for i in range(min(size, 70_000)))):
        kind, found, _ = inflated(pack(content), coding)
        assert found == content
        assert kind is (bytes if len(content) <= LARGE_BYTES else LargeBody)


def test_a_large_body_is_read_in_pieces_and_its_room_given_back() -> None:
    content = bytes(i * i * 2654435761 >> 7 & 255 for i in range(300_000)) * 3
    assert inflated(gzip.compress(content, 1), "gzip", large=True) == (LargeBody, content, len(content))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_413_a_bomb_is_refused_before_it_takes_room(coding: str) -> None:
    """64 MiB in 64 KiB; what is held stays near the limit."""
    bomb = (gzip.compress if coding == "gzip" else zlib.compress)(bytes(64 * MIB))
    tracemalloc.start()
    with pytest.raises(errors.BodyTooLarge, match="limit of 131072 bytes"):
        inflated(bomb, coding, limit=128 * 1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MIB
    response = post("/predict/m", content=bomb, headers={"Content-Encoding": coding}, max_body_bytes=128 * 1024)
    assert_error(response, 413, "body_too_large")


@pytest.mark.parametrize(("size", "status"), [(1024, 200), (1025, 413)])
def test_the_limit_of_what_comes_out_is_exact(size: int, status: int) -> None:
    packed = gzip.compress(BODY.ljust(size))
    response = post("/predict/m", content=packed, headers={"Content-Encoding": "gzip"}, max_body_bytes=1024)
    assert response.status_code == status


GZIPPED, DEFLATED = gzip.compress(BODY, mtime=0), zlib.compress(BODY)
WRONG = {
    "nothing": ("gzip", b""),
    "plain": ("gzip", BODY),
    "no end": ("gzip", GZIPPED[:-1]),
    "a part of the head": ("gzip", GZIPPED[:3]),
    "more behind it": ("gzip", GZIPPED + b"x"),
    "another coding": ("gzip", DEFLATED),
    "another sum": ("gzip", GZIPPED[:-8] + bytes(8)),
    "nothing deflated": ("deflate", b""),
    "plain as deflated": ("deflate", BODY),
    "no end of deflated": ("deflate", DEFLATED[:-1]),
    "more behind deflated": ("deflate", DEFLATED + b"x"),
    "gzip as deflated": ("deflate", GZIPPED),
}


@pytest.mark.parametrize("name", WRONG)
def test_400_what_is_not_so_coded(name: str) -> None:
    coding, content = WRONG[name]
    backend = FakeBackend()
    response = post("/predict/m", None, backend, content=content, headers={"Content-Encoding": coding})
    assert f"The body is not {coding}" in assert_error(response, 400, "malformed_json")
    assert backend.calls == []
