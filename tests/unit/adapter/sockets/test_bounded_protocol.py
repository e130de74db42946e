"""The HTTP protocol on a socket: what arrives, in which packets, and how long a connection lives."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest
import uvloop

from tests.support.fakes.http_server import Running, running

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(LOOPS[request.param]) as state:
        yield state


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(body: bytes, *headers: str) -> bytes:
    return get("/echo", f"Content-Length: {len(body)}", *headers, method="POST") + body


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def assert_arrives(sock: socket.socket, wanted: bytes) -> None:
    """The next bytes are these, however many packets they come in."""
    got = b""
    while len(got) < len(wanted):
        piece = sock.recv(len(wanted) - len(got))
        assert piece, f"closed after {got!r}"
        got += piece
    assert got == wanted


def test_head_and_body_are_one_packet(server: Running) -> None:
    server.written.clear()
    with server.connected() as sock:
        for i in range(50):
            body = b"%d" % i * 100
            sock.sendall(post(body))
            assert sock.recv(65536) == answer(body)
            assert server.written[i:] == [answer(body)]


def test_a_head_whose_body_comes_later_does_not_wait_for_it(server: Running) -> None:
    with server.connected() as sock:
        sock.sendall(get("/late-body"))
        assert_arrives(sock, answer(b"late")[:-4])
        server.gate.set()
        assert_arrives(sock, b"late")


@pytest.mark.parametrize(
    ("request_bytes", "head"),
    [
        (get("/status/204"), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (get("/status/304"), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (get("/large/7", method="HEAD"), b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        (post(b""), answer(b"")),
    ],
    ids=["204", "304", "HEAD", "empty"],
)
def test_an_answer_without_a_body_arrives_and_the_connection_goes_on(
    server: Running, request_bytes: bytes, head: bytes
) -> None:
    server.written.clear()
    with server.connected() as sock:
        for _ in range(3):
            sock.sendall(request_bytes)
            assert_arrives(sock, head)
        sock.sendall(post(b"next"))
        assert_arrives(sock, answer(b"next"))
    assert [data for data in server.written if data] == [head] * 3 + [answer(b"next")]


def test_a_stream_arrives_piece_by_piece(server: Running) -> None:
    with server.connected() as sock:
        sock.sendall(get("/pieces"))
        assert_arrives(sock, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        # The application is let go on only once a piece is here.
        for chunk in (b"3\r\none\r\n", b"7\r\ntwo\r\n\r\n\r\n", b"7\r\nthree\r\n\r\n"):
            assert_arrives(sock, chunk)
            server.gate.set()
        assert_arrives(sock, b"0\r\n\r\n")
        sock.sendall(post(b"next"))
        assert_arrives(sock, answer(b"next"))


def test_100_continue_comes_before_the_body_is_sent(server: Running) -> None:
    with server.connected() as sock:
        for body in (b"one", b"two"):
            sock.sendall(get("/echo", "Expect: 100-continue", "Content-Length: 3", method="POST"))
            assert_arrives(sock, b"HTTP/1.1 100 Continue\r\n\r\n")
            sock.sendall(body)
            assert_arrives(sock, answer(body))


def test_100_continue_is_not_taken_for_the_head_of_the_answer(server: Running) -> None:
    server.written.clear()
    with server.connected() as sock:
        # A client that does not wait: the answer follows at once.
        sock.sendall(post(b"impatient", "Expect: 100-continue"))
        assert_arrives(sock, b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"impatient"))
    assert server.written == [b"HTTP/1.1 100 Continue\r\n\r\n", answer(b"impatient")]


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    paths = [f"/seconds/{seconds}" for seconds in ("0.05", "0", "0.02", "0.0", "0.001")]
    with server.connected() as sock:
        for _ in range(3):
            # Nobody asks for their bodies: what comes after them is read nevertheless.
            sock.sendall(b"".join(map(get, paths)) + get("/status/204"))
            assert_arrives(sock, b"".join(answer(path.encode()) for path in paths))
            assert_arrives(sock, b"HTTP/1.1 204 No Content\r\n\r\n")
        sock.sendall(post(b"first") + get(paths[0]) + post(b"last"))
        assert_arrives(sock, answer(b"first") + answer(paths[0].encode()) + answer(b"last"))


def test_a_large_answer_arrives_whole(server: Running) -> None:
    size = 8 * 1024 * 1024
    with server.connected() as sock:
        sock.sendall(get(f"/large/{size}"))
        assert_arrives(sock, answer(b"x" * size))
        sock.sendall(post(b"y" * 300_000))
        assert_arrives(sock, answer(b"y" * 300_000))


def test_connection_close_is_obeyed_after_the_whole_answer(server: Running) -> None:
    for request, wanted in (
        (post(b"bye", "Connection: close"), b"content-length: 3\r\nconnection: close\r\n\r\nbye"),
        (get("/large/3", "Connection: close", method="HEAD"), b"content-length: 3\r\nconnection: close\r\n\r\n"),
    ):
        with server.connected() as sock:
            sock.sendall(request)
            assert_arrives(sock, b"HTTP/1.1 200 OK\r\n" + wanted)
            assert sock.recv(1) == b""


def test_what_the_application_had_sent_before_it_failed_arrives(server: Running) -> None:
    with server.connected() as sock:
        sock.sendall(get("/broken"))
        assert_arrives(sock, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        assert sock.recv(1) == b""


def test_what_is_not_http_is_a_400(server: Running) -> None:
    with server.connected() as sock:
        sock.sendall(b"\x00\x01\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
        assert sock.recv(65536) == b""


def test_a_client_that_leaves_is_let_go(server: Running) -> None:
    for request in (get("/seconds/0.05"), get("/large/5000000"), post(b"x" * 10)[:-3]):
        with server.connected() as sock:
            sock.sendall(request)
    with server.connected() as sock:
        sock.sendall(post(b"next"))
        assert_arrives(sock, answer(b"next"))


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    """Keeps an idle connection for two seconds."""
    with running(uvloop.new_event_loop, keep_alive=2) as state:
        yield state


def closed_after(sock: socket.socket) -> float:
    """Seconds until the server closes it."""
    started = time.monotonic()
    assert sock.recv(1) == b""
    return time.monotonic() - started


def ask(sock: socket.socket, body: bytes) -> None:
    sock.sendall(post(body))
    assert_arrives(sock, answer(body))


def test_an_idle_connection_is_closed_and_one_in_use_is_not(impatient: Running) -> None:
    with impatient.connected() as idle, impatient.connected() as busy, impatient.connected() as used:
        started = time.monotonic()
        ask(idle, b"idle")
        # Longer than an idle one may be: the timer of the first request ends in the midst of the second.
        ask(busy, b"busy")
        busy.sendall(get("/seconds/2.6"))
        for _ in range(6):
            ask(used, b"used")
            time.sleep(0.4)
        assert idle.recv(1) == b""
        assert time.monotonic() - started > 1.9
        assert_arrives(busy, answer(b"/seconds/2.6"))
        ask(busy, b"busy")
        ask(used, b"used")
        # And each of them once it is idle, counted from its last answer.
        assert 0.5 < closed_after(used) < 9
        assert closed_after(busy) < 9


def test_a_body_that_is_still_coming_keeps_a_connection(impatient: Running) -> None:
    with impatient.connected() as sock:
        ask(sock, b"first")
        request = post(b"slowly")
        sock.sendall(request[:-3])
        time.sleep(2.6)
        sock.sendall(request[-3:])
        assert_arrives(sock, answer(b"slowly"))
        assert 0.5 < closed_after(sock) < 9
