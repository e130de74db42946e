"""HTTP as bytes: what goes over a socket of its own, and the answers that come back."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import orjson

SECONDS = 30.0
ERROR_KEYS = {"detail", "code", "request_id"}


@dataclass(frozen=True)
class Answer:
    """One answer. Names of headers have small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error with the body that every error has, which is checked here."""
        found = self.json
        assert set(found) == ERROR_KEYS, found
        assert found["detail"] and found["request_id"], found
        assert found["request_id"] == self.headers.get("x-request-id", found["request_id"])
        return str(found["code"])


def connect(url: str) -> socket.socket:
    """A connection whose packets go out as they are sent."""
    address = urlsplit(url)
    assert address.hostname and address.port
    sock = socket.create_connection((address.hostname, address.port), SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def send_all(sock: socket.socket, packets: Iterable[bytes]) -> None:
    """Send the packets, a moment apart, for as long as the server takes them: its answer is to be read."""
    for i, packet in enumerate(packets):
        if i:
            time.sleep(0.05)
        try:
            sock.sendall(packet)
        except OSError:
            return


def receive(sock: socket.socket) -> bytes:
    """What comes until the server closes; it must, within SECONDS."""
    content = b""
    try:
        while part := sock.recv(1 << 16):
            content += part
    except ConnectionResetError:
        pass
    except TimeoutError:
        raise AssertionError(f"the server keeps the connection open after {content[:300]!r}") from None
    return content


def parse(content: bytes, head_only: bool = False) -> list[Answer]:
    """The answers that these bytes are; an AssertionError if they are anything else."""
    file = io.BytesIO(content)
    return list(iter(lambda: read_answer(file, head_only), None))


class Reader:
    """Answers off a socket, one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def __del__(self) -> None:
        self._file.close()

    def answer(self) -> Answer | None:
        """The next one; None if the server has closed the connection instead."""
        return read_answer(self._file)

    def answers(self) -> list[Answer]:
        """All up to the end of the connection."""
        with self._file:
            return list(iter(self.answer, None))


def read_answer(file: BinaryIO, head_only: bool = False) -> Answer | None:
    """The next answer that is no interim one; None at the end. `head_only`: it has no body, as those to HEAD."""
    while first := file.readline():
        version, status = first.split(b" ")[:2]
        assert version == b"HTTP/1.1", first[:300]
        headers = {}
        while (line := file.readline()) != b"\r\n":
            assert line.endswith(b"\r\n"), line[:300]
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if int(status) < 200:
            continue
        if head_only:
            return Answer(int(status), headers, b"")
        if "content-length" not in headers:
            assert headers.get("connection") == "close", headers
            return Answer(int(status), headers, file.read())
        length = int(headers["content-length"])
        body = file.read(length)
        assert len(body) == length, body[:300]
        return Answer(int(status), headers, body)
    return None
