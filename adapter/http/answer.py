"""An answer in JSON, and the one place where its head is written."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Send

Headers = Sequence[tuple[bytes, bytes]]


class Answer:
    """What is to be sent: a status, a body of the type `media`, and the headers that not every answer has, `more`."""

    __slots__ = ("content", "media", "more", "request_id", "status")

    def __init__(
        self, status: int, content: bytes, request_id: str, more: Headers = (), media: bytes = b"application/json"
    ) -> None:
        self.status = status
        self.content = content
        self.request_id = request_id
        self.more = more
        self.media = media

    def head(self, status_line: bytes = b"", defaults: bytes = b"") -> bytes:
        """Return the head in bytes, with the empty line that ends it.

        `status_line` is its first line, and `defaults` has the headers that every answer of a server has, each line
        with its CRLF.
        """
        more = b"".join([b"%b: %b\r\n" % header for header in self.more]) if self.more else b""
        # An id is letters, digits and a few signs, whoever chose it.
        return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n" % (
            status_line, defaults, self.media, len(self.content), self.request_id.encode(), more
        )  # fmt: skip

    async def send(self, send: Send, has_body: bool = True) -> None:
        """Send the answer over ASGI; `has_body` is false for the answer to a HEAD."""
        headers = [tuple(line.split(b": ", 1)) for line in self.head().splitlines() if line]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.content if has_body else b""})
