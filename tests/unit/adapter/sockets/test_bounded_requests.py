"""What is bounded and refused of requests, one connection at a time: heads, bodies, and what follows a request."""

from __future__ import annotations

import pytest

from tests.support.http.bounded_server import BoundedServer, until

NOW = b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n"
GATE = b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n"


def head(first: bytes = b"POST /echo HTTP/1.1", *headers: bytes) -> bytes:
    return b"\r\n".join([first, *headers, b"", b""])


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


REFUSED = {
    "proxying": (head(b"CONNECT x:1 HTTP/1.1", b"Host: x"), 400, "it does not take CONNECT"),
    "no Host": (head(b"GET /now HTTP/1.1"), 400, "A request has one Host header"),
    "two Hosts": (head(b"GET /now HTTP/1.1", b"Host: x", b"Host: y"), 400, "A request has one Host header"),
    "another coding": (
        head(b"POST /echo HTTP/1.1", b"Host: x", b"Transfer-Encoding: gzip, chunked"), 400, "The only Transfer-Encoding"
    ),
    "many headers": (
        head(b"GET /now HTTP/1.1", b"Host: x", *[b"A: %d" % number for number in range(100)]),
        431, "more than 100 headers",
    ),
    "a large head": (head(b"GET /now HTTP/1.1", b"Host: x", b"A: " + b"a" * 70_000), 431, "over the limit of 65536"),
    "another protocol": (head(b"OPTIONS /now RTSP/1.0", b"Host: x"), 400, "first line is not one of HTTP/1.1"),
    "no path": (head(b"GET http://[/ HTTP/1.1", b"Host: x"), 400, "request"),
    "no HTTP": (b"\x16\x03\x01\x02\r\n\r\n", 400, "request"),
    "chunks of nothing but lines": (
        head(b"POST /echo HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked") + b"1;" + b"a" * 140_000,
        431, "The chunks' own lines are over the limit",
    ),
    "a broken chunk": (
        head(b"POST /echo HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked") + b"no number\r\n", 400, "not HTTP/1.1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_A13_request_beyond_the_bounds_is_refused_and_its_connection_ends(name: str) -> None:
    request, wanted, why = REFUSED[name]
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(request)
        status, body = await one.refusal()
        assert (status, why in body) == (wanted, True), body
        assert set(server.begun) <= {"/echo"}


OFFER = (b"Host: x", b"Connection: Upgrade", b"Upgrade: h2c")


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (head(b"GET /now HTTP/1.1", *OFFER), b"/now"),
        (head(b"POST /echo HTTP/1.1", *OFFER, b"Content-Length: 3") + b"abc", b"/echo"),
        (head(b"POST /echo HTTP/1.1", *OFFER, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", b"/echo"),
    ],
    ids=["no body", "length", "chunks"],
)
async def test_A30_offer_of_another_protocol_is_passed_over(request_bytes: bytes, body: bytes) -> None:
    for pieces in ((request_bytes,), (request_bytes[:-2], request_bytes[-2:])):
        async with BoundedServer().serving() as server, server.connected() as one:
            for piece in pieces:
                one.send(piece)
            await one.arrives(answer(body))
            one.send(NOW)
            await one.arrives(answer(b"/now"))
            assert b"".join(server.received) == (b"" if body == b"/now" else b"abc")


async def test_requests_that_come_while_one_is_in_hand_are_held_and_answered_in_order() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(GATE)
        await until(lambda: server.begun)
        one.send(NOW[:10])
        await until(lambda: one.protocol.flow.held)
        # What the loop hands over nevertheless is kept behind it.
        one.protocol.data_received(NOW[10:] + GATE)
        # A request in hand may take its time.
        one.check(1000)
        assert server.begun == ["/gate"]
        server.gate.set()
        await one.arrives(answer(b"/gate") + answer(b"/now") + answer(b"/gate"))


@pytest.mark.parametrize(
    ("rest", "status"),
    [(b"OPTIONS /now RTSP/1.0\r\n", 400), (b"no HTTP\r\n", 400), (b"GET /now HTTP/1.1\r\nHost: x\r\n", 200)],
)
async def test_what_is_wrong_with_the_next_request_is_said_after_the_answer(rest: bytes, status: int) -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(GATE + rest)
        await until(lambda: server.begun)
        server.gate.set()
        await one.arrives(answer(b"/gate"))
        if status == 200:
            one.send(b"\r\n")
            await one.arrives(answer(b"/now"))
        else:
            assert (await one.refusal())[0] == status
        assert server.begun == ["/gate", "/now"][: 1 + (status == 200)]


async def test_body_that_comes_after_its_head_is_counted_from_the_first_packet_on() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(head(b"POST /echo HTTP/1.1", b"Host: x", b"Content-Length: 6") + b"abc")
        await until(lambda: server.received)
        one.send(b"def" + NOW)
        await one.arrives(answer(b"/echo") + answer(b"/now"))
        assert b"".join(server.received) == b"abcdef"


async def test_large_body_of_a_request_that_was_answered_is_not_waited_for() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(head(b"POST /now HTTP/1.1", b"Host: x", b"Content-Length: 100000") + b"abc")
        await one.arrives(answer(b"/now"))
        assert await one.closed()
    async with server.serving(), server.connected() as one:
        one.send(head(b"POST /now HTTP/1.1", b"Host: x", b"Content-Length: 5") + b"abc")
        await one.arrives(answer(b"/now"))
        one.send(b"de" + NOW)
        await one.arrives(answer(b"/now"))
