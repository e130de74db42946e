"""Reads a request's body within bounds: small ones as bytes, large ones into memory that is handed out in turns."""

from __future__ import annotations

from starlette.types import Message, Receive

from adapter import errors
from adapter.codec.large_bodies import LARGE_BYTES, LargeBodies, LargeBody

# How many digits a Content-Length may have: more are over any limit.
_MOST_DIGITS = 18


class ClientLeft(Exception):
    """The connection closed before the whole body was there."""


def body_too_large(limit: int) -> errors.BodyTooLarge:
    """Make the error of a body over `limit`, in bytes, with what the client can do."""
    return errors.BodyTooLarge(f"The body is over the limit of {limit} bytes: send fewer rows a request.")


class BodyReader:
    """Reads the bodies of requests, none of them over `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        # The largest body that needs no looking after.
        self.small = min(LARGE_BYTES, most_bytes)
        self.large = LargeBodies(most_bytes)

    async def read(self, length: bytes, receive: Receive, limit: int) -> bytes | LargeBody:
        """Read the whole body, of which `length` is the Content-Length as it came.

        A body over LARGE_BYTES is returned as a LargeBody, which the caller closes.

        Raises: BodyTooLarge before more than `limit` bytes are held, Overloaded if large bodies have no room, and
        ClientLeft.
        """
        if length.isdigit():
            if len(length) > _MOST_DIGITS or int(length) > limit:
                raise body_too_large(limit)
            if int(length) > LARGE_BYTES:
                self.large.check(int(length))
        message = await receive()
        body: bytes = message.get("body", b"")
        is_whole = message["type"] == "http.request" and not message.get("more_body", False)
        if is_whole and len(body) <= min(self.small, limit):
            return body
        chunks = [body]
        size = len(body)
        while size <= min(LARGE_BYTES, limit):
            if message["type"] == "http.disconnect":
                raise ClientLeft
            if not message.get("more_body", False):
                return b"".join(chunks)
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
        if size > limit:
            raise body_too_large(limit)
        large = self.large.begin()
        try:
            # As it comes, and not as it was announced: who sends nothing takes no room.
            large.append(b"".join(chunks))
            await self._read_on(large, message, receive, limit)
        except BaseException:
            large.close()
            raise
        return large

    async def _read_on(self, large: LargeBody, message: Message, receive: Receive, limit: int) -> None:
        """Append the parts of the body that follow `message`."""
        while message.get("more_body", False):
            await self.large.pace()
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece: bytes = message.get("body", b"")
            if len(large) + len(piece) > limit:
                raise body_too_large(limit)
            large.append(piece)
