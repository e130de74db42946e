"""Where heads and bodies end in what a connection sends, before the parser sees it.

The parser tells what a head says, but keeps all that comes of one, goes on into the next request, stops at an
`Upgrade`, and takes RTSP for HTTP. So the bytes are cut here first: a head ends at the first empty line (the parser
takes no line that does not end in CRLF), and a body as its head says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import httptools

from adapter import errors

HEAD_END = b"\r\n\r\n"
_VERSION = b" HTTP/1.1\r\n"
_LINE = re.compile(rb"[\r\n]*[^\r\n]+ HTTP/1\.[01]\r\n")


def is_one_request(packet: bytes) -> bool:
    """Return whether a packet that begins a request has one whole head of HTTP/1.1 and no other."""
    return packet.count(HEAD_END) == 1 and packet.find(b"\r\n") == packet.find(_VERSION) + 9 > 8


class HeadCutter:
    """Finds where a head ends, in whatever pieces it comes, and bounds it to `most` bytes.

    Nothing of a head is kept but its first line, and that until the line ends.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Whether the last head was one of HTTP/1.0.
        self.is_old = False
        self._begin()

    def _begin(self) -> None:
        self._size = 0
        self._tail = b""
        self._line: bytearray | None = bytearray()

    def cut(self, data: bytes, start: int) -> tuple[int, bool]:
        """Return where the head's part of `data` ends, which begins at `start`, and whether the head ends there.

        Raises: HeadTooLarge and MalformedRequest.
        """
        end, whole = find_end(data, start, self._tail)
        self._size += end - start
        if self._size > self._most:
            raise errors.HeadTooLarge(f"The request's head is over the limit of {self._most} bytes: send less in it.")
        piece = data[start:end]
        self._tail = (self._tail + piece)[-3:]
        if self._line is not None:
            self._check_line(self._line, piece)
        if whole:
            self._begin()
        return end, whole

    def _check_line(self, line: bytearray, piece: bytes) -> None:
        seen = len(line)
        line += piece
        if line[:1] in b"\r\n":
            # Empty lines before a request are let pass.
            del line[: len(line) - len(line.lstrip(b"\r\n"))]
            seen = 0
        if line.find(b"\r\n", max(0, seen - 1)) < 0:
            return
        if _LINE.match(line) is None:
            raise errors.MalformedRequest("The request's first line is not one of HTTP/1.1 or HTTP/1.0.")
        self.is_old = line.find(b" HTTP/1.0\r\n") == line.find(b"\r\n") - 9
        self._line = None


def find_end(data: bytes, start: int, tail: bytes) -> tuple[int, bool]:
    """Return where the first empty line ends in `data` from `start` on, and whether there is one.

    The line may have begun in `tail`, the last three bytes of what came before. Without one, the end is that of `data`.
    """
    if tail:
        found = (tail + data[start : start + 3]).find(HEAD_END)
        if found >= 0:
            return start + found + 4 - len(tail), True
    found = data.find(HEAD_END, start)
    return (len(data), False) if found < 0 else (found + 4, True)


def framing_of(headers: list[tuple[bytes, bytes]], old: bool) -> tuple[int, bool]:
    """Return the length of the body that a head announces, in bytes, and whether it comes in chunks.

    The parser has refused what is ambiguous; `old` is HTTP/1.0, which has no chunks.

    Raises: MalformedRequest if the body is coded in another way.
    """
    length, chunked = 0, False
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            if old or value.strip().lower() != b"chunked":
                raise errors.MalformedRequest("The only Transfer-Encoding is chunked, and that in HTTP/1.1.")
            chunked = True
    return length, chunked


def body_parser(
    length: int, chunked: bool, on_body: Callable[[bytes], None], on_complete: Callable[[], None]
) -> httptools.HttpRequestParser:
    """Make a parser that has read a head already: for the body of a request whose own parser stopped there."""
    parser = httptools.HttpRequestParser(SimpleNamespace(on_body=on_body, on_message_complete=on_complete))
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % length
    parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + HEAD_END)
    return parser
