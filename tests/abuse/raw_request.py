"""Bytes to a server and its answer, with nothing of a client's good manners in between."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SECONDS = 20.0
Headers = tuple[tuple[str | bytes, str | bytes], ...]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


def send(url: str, request: bytes) -> Reply:
    """The first answer on a connection of its own."""
    address = urlsplit(url)
    assert address.hostname and address.port
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as sock:
        sock.sendall(request)
        with sock.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            headers = {}
            while line := answer.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            length = 0 if request.startswith(b"HEAD ") else int(headers.get("content-length", 0))
            return Reply(status, headers, answer.read(length))


def head(method: str, target: str, *headers: tuple[str | bytes, str | bytes]) -> bytes:
    """Of a request, as it is written: nothing is escaped or normalised."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: t"]
    lines += [b"%b: %b" % (_bytes(name), _bytes(value)) for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(url: str, target: str, features: Any, *headers: tuple[str | bytes, str | bytes]) -> Reply:
    body = json.dumps({"features": features}).encode()
    length = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return send(url, head("POST", target, *length, *headers) + body)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
