"""HTTP as bytes: what a client sends over a socket of its own, and every answer until the server closes it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.e2e.server import Served

SECONDS = 20.0
ERROR_KEYS = {"detail", "code", "request_id"}


@dataclass(frozen=True)
class Reply:
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


def address(server: Served) -> tuple[str, int]:
    parts = urlsplit(server.url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def connect(server: Served) -> socket.socket:
    return socket.create_connection(address(server), timeout=SECONDS)


def request(target: str, body: bytes = b"", method: str = "POST", **headers: str) -> bytes:
    """A whole request that asks for its connection to be closed; an underscore in a header's name is a dash."""
    named = {
        "Host": "schwift.test",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def exchange(server: Served, *packets: bytes, head: bool = False) -> list[Reply]:
    """Send the packets, a moment apart, and read until the server closes: every answer, in order.

    `head`: answers have no body, as those to HEAD.
    """
    with connect(server) as sock:
        send_all(sock, packets)
        return replies(received(sock), head)


def send_all(sock: socket.socket, packets: Iterable[bytes]) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i, packet in enumerate(packets):
        if i:
            time.sleep(0.05)
        try:
            sock.sendall(packet)
        except OSError:
            return  # it has closed already; its answer is to be read


def received(sock: socket.socket) -> bytes:
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


def replies(content: bytes, head_only: bool = False) -> list[Reply]:
    """The answers that these bytes are; an AssertionError where they are anything else."""
    found = []
    while content:
        head, end, rest = content.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status = first.split(" ")[:2]
        assert end and version == "HTTP/1.1", content[:300]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if head_only or int(status) < 200:
            length = 0
        elif "content-length" in headers:
            length = int(headers["content-length"])
        else:
            # Until the end of the connection.
            assert headers.get("connection") == "close", head
            length = len(rest)
        assert len(rest) >= length, content[:300]
        if int(status) >= 200:
            found.append(Reply(int(status), headers, rest[:length]))
        content = rest[length:]
    return found
