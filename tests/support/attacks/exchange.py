"""Whole requests to a server, and every answer until it closes the connection."""

from __future__ import annotations

from tests.support.http.http_bytes import Answer, connect, parse, receive, send_all
from tests.support.servers.server import Served


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


def exchange(server: Served, *packets: bytes, head: bool = False) -> list[Answer]:
    """Send the packets, a moment apart, and read until the server closes: every answer, in order.

    `head`: answers have no body, as those to HEAD.
    """
    with connect(server.url) as sock:
        send_all(sock, packets)
        return parse(receive(sock), head)
