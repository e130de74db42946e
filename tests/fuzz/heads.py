"""Raw HTTP over a socket of its own: heads and whole messages that are nearly right."""

from __future__ import annotations

import socket

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.bodies import mutated
from tests.fuzz.oracle import Wrong, check_error, strict
from tests.support.attacks.exchange import request
from tests.support.http.http_bytes import Answer, connect, parse
from tests.support.servers.server import Served

# With so little to do an answer comes sooner; a later one is not looked at.
_QUIET_SECONDS = 0.25
_BODY = b'{"features": [[1.0, 2.0, 3.0]]}'
_ANSWER = {"model": "multiply", "predictions": [[2.5, 5.0, 7.5]]}
# Behind every message: who reads on reads this, and closes.
_LAST = request("/health/live", method="GET")
_LINES = [
    "Expect: 100-continue", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Content-Length: 5",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", "Upgrade: websocket\r\nConnection: upgrade",
    "Host: other", "Connection: close", "X-Request-Id: a b\tc", "X-Request-Timeout-Ms: 99999999999999999999",
    "Content-Encoding: gzip", "Content-Type: application/json; charset=utf-16", "Cookie: " + "a=b; " * 500,
    "X-Long: " + "x" * 20_000, "Origin: http://evil.test", "Trailer: X-A", "TE: trailers", ": no name", "no colon",
    "Content-Type:", "X-Forwarded-For: 1.2.3.4", "Authorization: Bearer \xff", "X-API-Key: \0", " folded",
]  # fmt: skip
_TARGETS = ["/predict/multiply", "/predict_batched/multiply", "/predict/%6dultiply", "/health", "/metrics", "/docs",
            "//", "/predict/", "http://other/predict/multiply", "*", "/predict/multiply?key=a", "/predict/" + "a" * 300,
            "", "/..%2f", "/predict//multiply", "/predict/multiply/", "/\x80"]  # fmt: skip
_METHODS = ["POST"] * 6 + ["GET", "PUT", "OPTIONS", "post", "PRI", "CONNECT", "M-SEARCH", "P\x00ST"]
_VERSIONS = ["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "RTSP/1.0", "HTTP/1.1 ", "http/1.1", ""]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """The head of a message with `_BODY`, and lines that change what it means."""
    first = " ".join([draw(st.sampled_from(choices)) for choices in (_METHODS, _TARGETS, _VERSIONS)])
    lines = ["Host: a", "Content-Type: application/json", f"Content-Length: {len(_BODY)}"]
    lines += draw(st.lists(st.sampled_from(_LINES), max_size=3))
    order = draw(st.permutations(lines))
    end = draw(st.sampled_from(["\r\n"] * 8 + ["\n", "\r"]))
    return (end.join([first, *order]) + end + end).encode("latin-1")


def fuzz_heads(server: Served, cases: int) -> int:
    """So many connections, a third of them each with an odd head, a broken head, and a broken message."""
    odd = heads().map(lambda head: (head + _BODY, True))
    broken = mutated(heads()).map(lambda head: (head + _BODY, True))
    other = mutated(heads().map(lambda head: head + _BODY)).map(lambda message: (message, False))

    @settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(drawn=st.one_of(odd, broken, other), cut=st.integers(0, 400))
    def send(drawn: tuple[bytes, bool], cut: int) -> None:
        message, whole = drawn
        for reply in _converse(server, message, cut):
            _check(reply, whole, message)

    send()
    return cases


def _converse(server: Served, message: bytes, cut: int) -> list[Answer]:
    """Every answer to a message in two packets, and the last request behind it."""
    content = b""
    with connect(server.url) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.sendall(message[:cut])
            sock.sendall(message[cut:] + _LAST)
            sock.settimeout(_QUIET_SECONDS)
            while part := sock.recv(1 << 16):
                content += part
        except OSError:
            pass  # closed, or quiet: what came so far is looked at
    try:
        return parse(content)
    except (AssertionError, ValueError) as error:
        raise Wrong(f"{message[:300]!r} was answered {content[:300]!r}") from error


def _check(reply: Answer, whole: bool, message: bytes) -> None:
    if reply.status != 200:
        check_error(reply.status, reply.headers, reply.body)
    elif reply.headers["content-type"] == "application/json":
        body = strict(reply.body)
        # Where the body is whole, these are its numbers or none.
        if whole and "predictions" in body and body != _ANSWER:
            raise Wrong(f"{message[:300]!r} was answered {body}")
