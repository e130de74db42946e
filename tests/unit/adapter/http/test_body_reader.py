"""A request's body, in whatever pieces it comes: read whole within bounds, or refused before more is held."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import pytest
from starlette.types import Message

from adapter.codec.large_bodies import LARGE_BYTES, LargeBody
from adapter.errors import BodyTooLarge, Overloaded
from adapter.http.body_reader import BodyReader, ClientLeft

MOST = 2 * LARGE_BYTES
LEAVES = b"it leaves"


class Pieces:
    """What a client sends, a piece at a time; `asked` is how many were asked for."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.asked = 0

    async def receive(self) -> Message:
        piece = self._pieces[self.asked]
        self.asked += 1
        if piece is LEAVES:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": self.asked < len(self._pieces)}


async def read(*pieces: bytes, length: bytes = b"", limit: int = MOST, reader: BodyReader | None = None) -> bytes:
    """The body, wherever it is held."""
    body = await (reader or BodyReader(MOST)).read(length, Pieces(pieces).receive, limit)
    if isinstance(body, bytes):
        assert len(body) <= LARGE_BYTES
        return body
    assert isinstance(body, LargeBody) and len(body) > LARGE_BYTES
    with contextlib.closing(body):
        return os.pread(body.memory, MOST + 1, 0)


HALF = b"x" * (LARGE_BYTES // 2)
WHOLE = b"y" * LARGE_BYTES


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"abc",),
        (b"a", b"", b"bc"),
        (HALF, HALF),
        (WHOLE,),
        (WHOLE + b"z",),
        (HALF, HALF, b"z"),
        (HALF, b"", HALF, b"", HALF, b""),
        (WHOLE, WHOLE),
    ],
    ids=lambda pieces: "+".join(str(len(piece)) for piece in pieces),
)
async def test_a_body_is_what_came_in_order(pieces: tuple[bytes, ...]) -> None:
    whole = b"".join(pieces)
    assert await read(*pieces) == whole
    assert await read(*pieces, length=b"%d" % len(whole)) == whole
    assert await read(*pieces, length=b"no number") == whole


@pytest.mark.parametrize("length", [b"11", b"9" * 30, b"%d" % (MOST + 1)])
async def test_what_is_announced_over_the_limit_is_refused_unread(length: bytes) -> None:
    pieces = Pieces([b"x"])
    with pytest.raises(BodyTooLarge):
        await BodyReader(MOST).read(length, pieces.receive, 10)
    assert pieces.asked == 0


@pytest.mark.parametrize(
    ("pieces", "limit", "asked"),
    [
        ([b"x" * 11], 10, 1),
        ([b"x" * 6, b"x" * 5, b"x"], 10, 2),
        ([WHOLE, WHOLE, b"x", b"x"], MOST, 3),
        ([WHOLE + b"x", WHOLE, b"x"], MOST, 2),
    ],
)
async def test_what_comes_over_the_limit_is_refused_as_soon_as_it_does(
    pieces: list[bytes], limit: int, asked: int
) -> None:
    reader = BodyReader(MOST)
    given = Pieces(pieces)
    with pytest.raises(BodyTooLarge):
        await reader.read(b"", given.receive, limit)
    assert given.asked == asked
    # The room of what had come is free again.
    assert await read(WHOLE, WHOLE, reader=reader) == WHOLE * 2


@pytest.mark.parametrize("pieces", [(LEAVES,), (b"a", LEAVES), (HALF, HALF, b"z", LEAVES), (WHOLE + b"z", LEAVES)])
async def test_a_client_that_leaves_in_the_midst_is_told(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ClientLeft):
        await read(*pieces)


async def test_large_bodies_have_room_for_so_many_at_a_time() -> None:
    reader = BodyReader(MOST)
    held = [await reader.read(b"", Pieces([WHOLE, WHOLE]).receive, MOST) for _ in range(4)]
    for announced in (b"", b"%d" % MOST):
        with pytest.raises(Overloaded):
            await reader.read(announced, Pieces([WHOLE, WHOLE]).receive, MOST)
    # Small ones need none.
    assert await read(WHOLE, reader=reader) == WHOLE
    for body in held:
        assert isinstance(body, LargeBody)
        body.close()
    assert await read(WHOLE, WHOLE, reader=reader) == WHOLE * 2
