"""Heads without end: cut at their bound, before they are kept."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.support.attacks.raw import (
    GOOD,
    LIVE,
    ask,
    assert_predicted,
    assert_refused,
    assert_serves,
    multiply_server,
    post,
)
from tests.support.http.http_bytes import Reader, connect
from tests.support.servers import pids
from tests.support.servers.server import Server

MOST = 64 * 1024
MIB = 1024 * 1024
START = b"POST /predict/multiply HTTP/1.1\r\nHost: x\r\n"
ENDLESS = {
    "one header of 10 MB": START + b"A: " + b"a" * (10 * MIB) + b"\r\n\r\n",
    "one name of 10 MB": START + b"a" * (10 * MIB) + b": b\r\n\r\n",
    "200,000 headers": START + b"".join(b"a%d: b\r\n" % i for i in range(200_000)) + b"\r\n",
    "an endless address": b"GET /" + b"a" * (10 * MIB) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "101 headers": START + b"A: b\r\n" * 100 + b"\r\n",
    "a head of 64 KiB and a byte": b"",
    "without an end": START + b"A: " + b"a" * MOST,
    "trailers of 10 MB": START + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"a" * (10 * MIB) + b"\r\n\r\n",
    "a chunk's line of 10 MB": START + b"Transfer-Encoding: chunked\r\n\r\n1;a=" + b"a" * (10 * MIB) + b"\r\na\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with multiply_server(tmp_path_factory.mktemp("served")) as running:
        yield running


def head_of(size: int) -> bytes:
    """A good request whose head has so many bytes, and its body."""
    plain = post("A: ")
    return post("A: " + "a" * (size - (len(plain) - len(GOOD))))


def memory(server: Server) -> int:
    """The adapter's, in bytes."""
    return pids.resident(pids.adapter(server))


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("packet", [1000, 100 * MIB], ids=["in packets", "at once"])
def test_A16_a_head_over_its_bound_is_431_and_the_end(server: Server, name: str, packet: int) -> None:
    request = ENDLESS[name] or head_of(MOST + 1)
    # What is beyond two MiB changes nothing but how long it takes to send.
    packets = [
        request[at : at + packet] for at in range(0, min(len(request), 2 * MIB if packet < MIB else 10**9), packet)
    ]
    (answer,) = ask(server, *packets)
    assert_refused(answer, 431, "head_too_large")
    assert_serves(server)


@pytest.mark.parametrize("name", ["one header of 10 MB", "101 headers"])
def test_A16_behind_good_requests_these_are_answered_first(server: Server, name: str) -> None:
    *good, last = ask(server, post() + LIVE + ENDLESS[name])
    assert [answer.status for answer in good] == [200, 200]
    assert_refused(last, 431, "head_too_large")


def test_A16_a_head_of_just_the_bound_and_100_headers_are_taken(server: Server) -> None:
    largest = head_of(MOST)
    many = post(*["A: b"] * 98)
    with connect(server.url) as sock:
        reader = Reader(sock)
        for request in (largest, many, largest + many + largest, *[largest] * 3):
            sock.sendall(request)
            for _ in range(max(1, len(request) // MOST)):
                assert_predicted(reader.answer())
        for at in range(0, len(largest), 999):
            sock.sendall(largest[at : at + 999])
        assert_predicted(reader.answer())


def test_A16_hundred_megabytes_of_head_hold_up_nobody(server: Server) -> None:
    """Eight clients send it at once; others are answered meanwhile, and nothing of it is kept."""
    assert_serves(server)
    before, spent = memory(server), pids.cpu_seconds(pids.adapter(server))
    piece = b"A: " + b"a" * MIB + b"\r\n"

    def send() -> None:
        with connect(server.url) as sock, contextlib.suppress(ConnectionError, TimeoutError):
            sock.sendall(START)
            for _ in range(100):
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    largest = 0
    while any(thread.is_alive() for thread in threads):
        assert httpx.get(f"{server.url}/health/live", timeout=30).status_code == 200
        largest = max(largest, memory(server))
    for thread in threads:
        thread.join()
    assert largest - before < 30 * MIB
    # Each of these heads took six seconds of the loop and more where it was kept.
    assert pids.cpu_seconds(pids.adapter(server)) - spent < 15
    assert_serves(server)
