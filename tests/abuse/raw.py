"""HTTP as bytes on a socket, for requests that no client library would send."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.server import ROOT, Server
from tests.faults.serving import serving

SECONDS = 30.0
GOOD = json.dumps({"features": [[1, 2, 3]]}).encode()
PREDICTIONS = [[2.5, 5.0, 7.5]]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def multiply_server(folder: Path, **settings: str) -> Iterator[Server]:
    """A server of the one example model that is quickest to start."""
    shutil.copytree(ROOT / "models" / "multiply", folder / "models" / "multiply")
    with serving(folder / "models", folder, **settings) as server:
        yield server


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    assert address.hostname and address.port
    sock = socket.create_connection((address.hostname, address.port), SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def post(*headers: str, body: bytes = GOOD, path: str = "/predict/multiply", length: bool = True) -> bytes:
    """A prediction as it should be, and these headers."""
    given = [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *given, *headers, "", ""]).encode() + body


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reader:
    """Answers off a socket, one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def __del__(self) -> None:
        self._file.close()

    def answer(self) -> Answer | None:
        """The next one; None where the server has closed the connection instead."""
        line = self._file.readline()
        if not line:
            return None
        headers = {}
        for header in iter(self._file.readline, b"\r\n"):
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", "0")))
        return Answer(int(line.split()[1]), headers, body)

    def answers(self) -> list[Answer]:
        """All up to the end of the connection."""
        found = []
        with self._file:
            while (answer := self.answer()) is not None:
                found.append(answer)
        return found


def ask(server: Server, *pieces: bytes) -> list[Answer]:
    """All answers to these packets on a connection, which the server closes."""
    with connect(server) as sock:
        for piece in pieces:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(piece)
        return Reader(sock).answers()


def assert_refused(answer: Answer | None, status: int, code: str) -> None:
    """Our error, in our body, which closes the connection."""
    assert answer is not None
    assert (answer.status, answer.json["code"]) == (status, code), answer
    assert set(answer.json) == {"detail", "code", "request_id"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert answer.headers["connection"] == "close"


def assert_predicted(answer: Answer | None) -> None:
    assert answer is not None
    assert answer.status == 200, answer
    assert answer.json == {"model": "multiply", "predictions": PREDICTIONS}


def assert_serves(server: Server) -> None:
    assert_predicted(ask(server, post("Connection: close"))[0])
