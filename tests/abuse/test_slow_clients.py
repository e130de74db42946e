"""Clients that send slowly, or nothing, or leave their answers unread: closed in time, and nobody else waits."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.attacks.raw import (
    GOOD,
    ask,
    assert_predicted,
    assert_refused,
    assert_serves,
    multiply_server,
    post,
)
from tests.support.http.http_bytes import Answer, Reader, connect
from tests.support.servers import pids
from tests.support.servers.server import Server, wait_for

MIB = 1024 * 1024
KEEP_ALIVE = 14
# Far beyond any of the bounds.
SAFETY = 60.0
DESCRIPTORS = 256


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"SCHWIFT_KEEP_ALIVE_SECONDS": str(KEEP_ALIVE), "SCHWIFT_MAX_BODY_BYTES": str(4 * MIB)}
    with multiply_server(tmp_path_factory.mktemp("served"), **settings) as running:
        yield running


class Slow(threading.Thread):
    """A client that sends `start`, then a piece each second until the end of the connection; notes what it got."""

    def __init__(self, server: Server, start: bytes, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self.answers: list[Answer] = []
        self.seconds = 0.0
        self._server = server
        self._start = start
        self._pieces = pieces

    def run(self) -> None:
        started = time.monotonic()
        with connect(self._server.url) as sock:
            sock.settimeout(SAFETY)
            over = threading.Event()
            sender = threading.Thread(target=self._send, args=(sock, over))
            sender.start()
            self.answers = Reader(sock).answers()
            self.seconds = time.monotonic() - started
            over.set()
            sender.join()

    def _send(self, sock: socket.socket, over: threading.Event) -> None:
        with contextlib.suppress(ConnectionError):
            sock.sendall(self._start)
            for piece in self._pieces:
                if over.wait(1):
                    return
                sock.sendall(piece)


def test_A13_each_kind_of_slow_client_is_closed_in_its_time(server: Server) -> None:
    """All side by side: silent, half heads and bodies, dripping ones, an idle one, and one that is just slow."""
    head = post("Connection: close", body=GOOD)
    large = json.dumps({"features": [[1, 2, 3]]}).encode() + b" " * 40_000
    slow = post("Connection: close", body=large)
    chunked = post("Transfer-Encoding: chunked", body=b"", length=False)

    def drip(data: bytes, size: int = 1) -> Iterator[bytes]:
        yield from (data[at : at + size] for at in range(0, len(data), size))

    clients = {
        "silent": Slow(server, b"", iter(())),
        "half a head": Slow(server, head[:30], iter(())),
        "dripping head": Slow(server, head[:33], drip(b"A: " + b"a" * 100)),
        "no body": Slow(server, head[: -len(GOOD)], iter(())),
        "dripping body": Slow(server, slow[:300], drip(b" " * 100)),
        "dripping chunks": Slow(server, chunked, drip(b"1\r\n \r\n" * 100, 6)),
        "endless empty lines": Slow(server, b"\r\n", drip(b"\r\n" * 100, 2)),
        "idle": Slow(server, post(), iter(())),
        "slow": Slow(server, slow[:300], drip(slow[300:], 3000)),
    }
    for client in clients.values():
        client.start()
    assert_serves(server)
    for client in clients.values():
        client.join(SAFETY)
    assert_serves(server)
    got = {name: [(a.status, a.json.get("code")) for a in client.answers] for name, client in clients.items()}
    late = [(408, "slow_request")]
    assert got == {
        "silent": [], "endless empty lines": [], "half a head": late, "dripping head": late, "no body": late,
        "dripping body": late, "dripping chunks": late, "idle": [(200, None)], "slow": [(200, None)],
    }  # fmt: skip
    assert_refused(clients["half a head"].answers[0], 408, "slow_request")
    seconds = {name: client.seconds for name, client in clients.items()}
    # The bounds are 10 s for a head, 5 s for a body, and the setting for an idle connection.
    assert all(8 < seconds[name] < 30 for name in ("silent", "half a head", "dripping head")), seconds
    assert all(4 < seconds[name] < 20 for name in ("no body", "dripping body", "dripping chunks")), seconds
    assert KEEP_ALIVE - 1 < seconds["idle"] < 3 * KEEP_ALIVE, seconds


@pytest.mark.parametrize("stopped", [False, True], ids=["one by one", "all in one turn of the loop"])
def test_A13_three_hundred_idle_connections_keep_nobody_out(server: Server, stopped: bool) -> None:
    """With 256 descriptors. The longest idle ones are closed, whether they have ever sent anything or not."""
    process = pids.adapter(server)
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (DESCRIPTORS, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            used = stack.enter_context(connect(server.url))
            reader = Reader(used)
            used.sendall(post())
            assert_predicted(reader.answer())
            silent = [stack.enter_context(connect(server.url)) for _ in range(100)]
            wait_for(lambda: open_files(process) > 100)
            used.sendall(post())
            assert_predicted(reader.answer())
            if stopped:
                os.kill(process, 19)
            silent += [stack.enter_context(connect(server.url)) for _ in range(200)]
            if stopped:
                os.kill(process, 18)
            for _ in range(50):
                assert_serves(server)
            assert open_files(process) < DESCRIPTORS
            closed = [i for i, sock in enumerate(silent) if is_closed(sock)]
            assert 40 < len(closed) < 200, closed
            # The first that came, and none of the last.
            assert closed[:40] == list(range(40))
            assert len(silent) - 1 not in closed
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)
    assert "Too many open files" not in server.output


def open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False


def test_A13_who_declares_a_large_body_and_sends_a_byte_takes_no_room(server: Server) -> None:
    """A dozen of them: four would have had all room, and a large body of another would be refused."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            sock = stack.enter_context(connect(server.url))
            sock.sendall(post(f"Content-Length: {4 * MIB}", body=b"{", length=False))
        time.sleep(0.5)
        for _ in range(3):
            assert_predicted(ask(server, post("Connection: close", body=GOOD + b" " * (3 * MIB)))[0])


def memory(server: Server) -> int:
    """The adapter's, in bytes."""
    return pids.resident(pids.adapter(server))


def flood(server: Server, request: bytes, clients: int, seconds: float) -> int:
    """Send it on so many connections for as long as anything is taken, and read nothing; the bytes that were taken."""
    packet = request * max(1, 100_000 // len(request))
    taken = 0
    with contextlib.ExitStack() as stack:
        left = {stack.enter_context(connect(server.url)): packet for _ in range(clients)}
        for sock in left:
            sock.setblocking(False)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for sock, rest in left.items():
                with contextlib.suppress(BlockingIOError):
                    sent = sock.send(rest)
                    taken += sent
                    left[sock] = rest[sent:] or packet
            time.sleep(0.001)
    return taken


def small(_: Server) -> bytes:
    return post()


def live(_: Server) -> bytes:
    return b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def large(_: Server) -> bytes:
    body = json.dumps({"features": [[1, 2, 3]] * 5000}).encode()
    return post(body=body)


@pytest.mark.parametrize("make", [small, live, large])
def test_A14_requests_whose_answers_nobody_reads_are_not_read(server: Server, make: Callable[[Server], bytes]) -> None:
    request = make(server)
    flood(server, request, 2, 1)
    before = memory(server)
    taken = flood(server, request, 6, 4)
    # What the systems' buffers of twelve sockets hold, and what was answered before they were full.
    assert taken < 200 * MIB
    # Six packets of 256 KiB and six answers, and what they are made of meanwhile.
    assert memory(server) - before < 60 * MIB
    wait_for(lambda: memory(server) - before <= 20 * MIB, 10)
    assert_serves(server)


def test_A14_a_long_pipeline_is_answered_whole_and_in_order(server: Server) -> None:
    """Ten thousand requests in one go, of both kinds, to a client that reads late."""
    count = 5_000
    requests = b"".join(
        post(body=json.dumps({"features": [[i, 2, 3]]}).encode()) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        for i in range(count)
    )
    with connect(server.url) as sock:
        sender = threading.Thread(target=sock.sendall, args=(requests,))
        sender.start()
        time.sleep(1)
        reader = Reader(sock)
        for i in range(count):
            answer = reader.answer()
            assert answer is not None and answer.json["predictions"] == [[2.5 * i, 5.0, 7.5]]
            live = reader.answer()
            assert live is not None and live.json == {"status": "ok"}
        sender.join()
