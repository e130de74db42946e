"""HTTP as bytes on a socket, for requests that no client library would send."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.support.http.http_bytes import Answer, Reader, connect
from tests.support.servers.server import ROOT, Server
from tests.support.servers.serving import serving

GOOD = json.dumps({"features": [[1, 2, 3]]}).encode()
PREDICTIONS = [[2.5, 5.0, 7.5]]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def multiply_server(folder: Path, **settings: str) -> Iterator[Server]:
    """A server of the one example model that is quickest to start."""
    shutil.copytree(ROOT / "models" / "multiply", folder / "models" / "multiply")
    with serving(folder / "models", folder, **settings) as server:
        yield server


def post(*headers: str, body: bytes = GOOD, path: str = "/predict/multiply", length: bool = True) -> bytes:
    """A prediction as it should be, and these headers."""
    given = [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *given, *headers, "", ""]).encode() + body


def ask(server: Server, *pieces: bytes) -> list[Answer]:
    """All answers to these packets on a connection, which the server closes."""
    with connect(server.url) as sock:
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
