"""Bytes to a server and its answer, with nothing of a client's good manners in between."""

from __future__ import annotations

import json
from typing import Any

from tests.support.http.http_bytes import Answer, connect, read_answer

Headers = tuple[tuple[str | bytes, str | bytes], ...]


def send(url: str, request: bytes) -> Answer:
    """The first answer on a connection of its own."""
    with connect(url) as sock, sock.makefile("rb") as file:
        sock.sendall(request)
        answer = read_answer(file, request.startswith(b"HEAD "))
        assert answer is not None
        return answer


def head(method: str, target: str, *headers: tuple[str | bytes, str | bytes]) -> bytes:
    """Write the head of a request as given: nothing is escaped or normalised."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: t"]
    lines += [b"%b: %b" % (_bytes(name), _bytes(value)) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(url: str, target: str, features: Any, *headers: tuple[str | bytes, str | bytes]) -> Answer:
    body = json.dumps({"features": features}).encode()
    length = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return send(url, head("POST", target, *length, *headers) + body)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
