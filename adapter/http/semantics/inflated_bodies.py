"""Bodies of requests that come compressed, inflated in bounded pieces: a bomb is refused before it takes room."""

from __future__ import annotations

import os
import zlib
from collections.abc import Generator, Iterator
from typing import Any

from adapter import errors
from adapter.codec.large_bodies import LARGE_BYTES, LargeBodies, LargeBody
from adapter.http.body_reader import body_too_large

_PIECE_BYTES = 64 * 1024
# zlib's word for a window of 32 KiB, to which 16 says that gzip's header is around it, and a minus that none is.
_WINDOW_BITS = 15
_GZIP_BITS = 16 + _WINDOW_BITS
_CODINGS = {b"gzip": "gzip", b"x-gzip": "gzip", b"deflate": "deflate"}
_NOT_TAKEN = (
    "One Content-Encoding of gzip or deflate is taken, and no other: send the body with one of them, or without."
)


def find_coding(encoding: bytes) -> str | None:
    """Return the coding that a Content-Encoding names: gzip or deflate, or None if there is none.

    Raises: UnsupportedMedia if it is another, or there are several.
    """
    name = encoding.strip().lower()
    if not name or name == b"identity":
        return None
    coding = _CODINGS.get(name)
    if coding is None:
        raise errors.UnsupportedMedia(_NOT_TAKEN)
    return coding


async def inflate(packed: bytes | LargeBody, coding: str, limit: int, room: LargeBodies) -> bytes | LargeBody:
    """Return what a body is without its coding; `packed` is closed. A large one the caller closes.

    Raises: BodyTooLarge before more than `limit` bytes and one piece are held; MalformedJson if the body is not so
    coded; Overloaded if large bodies have no room.
    """
    pieces: list[bytes] = []
    size = 0
    large: LargeBody | None = None
    try:
        for piece in _inflated(packed, coding):
            size += len(piece)
            if size > limit:
                raise body_too_large(limit)
            if large is None and size <= LARGE_BYTES:
                pieces.append(piece)
                continue
            if large is None:
                large = room.begin()
                large.append(b"".join(pieces))
            large.append(piece)
            # Others have their turn between the pieces.
            await room.pace()
    except BaseException:
        if large is not None:
            large.close()
        raise
    finally:
        if isinstance(packed, LargeBody):
            packed.close()
    return b"".join(pieces) if large is None else large


def _inflated(packed: bytes | LargeBody, coding: str) -> Iterator[bytes]:
    """Yield a body without its coding, in pieces of a bounded size, some of which may be empty."""
    inflater = None
    ended = False
    for rest in _pieces_of(packed):
        while rest:
            if ended and coding != "gzip":
                raise _not_coded(coding)
            if inflater is None or ended:
                # What follows in gzip is another member (RFC 1952, 2.2).
                inflater = zlib.decompressobj(_bits_of(coding, rest))
            rest = yield from _feed(inflater, rest, coding)
            ended = inflater.eof
    if not ended:
        raise _not_coded(coding)


def _feed(inflater: Any, rest: bytes, coding: str) -> Generator[bytes, None, bytes]:
    """Yield what comes of some input, and return what of it is behind the end."""
    more = True
    while more and not inflater.eof:
        try:
            found = inflater.decompress(rest, _PIECE_BYTES)
        except zlib.error as error:
            raise _not_coded(coding) from error
        yield found
        rest = inflater.unconsumed_tail
        # A full piece may have left some behind, though all input was read.
        more = bool(rest) or len(found) == _PIECE_BYTES
    unused: bytes = inflater.unused_data
    return unused


def _pieces_of(packed: bytes | LargeBody) -> Iterator[bytes]:
    for start in range(0, len(packed), _PIECE_BYTES):
        if isinstance(packed, bytes):
            yield packed[start : start + _PIECE_BYTES]
        else:
            yield os.pread(packed.memory, _PIECE_BYTES, start)


def _bits_of(coding: str, start: bytes) -> int:
    """Return how zlib is to read a coding; `deflate` is zlib's form, and that without its header from some clients."""
    if coding == "gzip":
        return _GZIP_BITS
    # RFC 1950, 2.2: the method is 8, and both bytes are a multiple of 31.
    has_header = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
    return _WINDOW_BITS if has_header else -_WINDOW_BITS


def _not_coded(coding: str) -> errors.MalformedJson:
    return errors.MalformedJson(f"The body is not {coding}, as its Content-Encoding says, or not all of it.")
