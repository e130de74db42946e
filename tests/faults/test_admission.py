"""More requests than there is room for, requests that wait too long, and clients that leave."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.servers import moods
from tests.support.servers.asking import Answer, ask, at_once, codes, metric
from tests.support.servers.on_time import one_of_three, within
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

ROOM = 40
BURST = 100
REFUSED_SECONDS = 0.020


def request_bytes(model: str, features: object) -> bytes:
    body = json.dumps({"features": features}).encode()
    head = f"POST /predict/{model} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    assert address.hostname and address.port
    return socket.create_connection((address.hostname, address.port), timeout=30)


@pytest.mark.timed
def test_R12_of_a_burst_exactly_the_overflow_is_refused_at_once(tmp_path: Path) -> None:
    """Connections first, then a request on each as fast as one client can write.

    Every refusal is there within 20 ms of its request, as the client sees it, in one of at most three bursts.
    """
    with serving(moods.write(tmp_path), tmp_path, MAX_CONCURRENT_REQUESTS=str(ROOM)) as server:

        def attempt() -> None:
            before = told(server)
            refused = burst(server)
            assert metric(server, "schwift_in_flight") == 0
            assert told(server) - before == len(refused) == BURST - ROOM
            within(max(refused), REFUSED_SECONDS)

        one_of_three(attempt)


@pytest.mark.timed
def test_R12_in_debug_mode_each_refusal_has_its_line(tmp_path: Path) -> None:
    """Writing the lines takes a while, which the client sees; the time in a line is the server's own."""
    settings = {"MAX_CONCURRENT_REQUESTS": str(ROOM), "DEBUG_MODE": "True", "LOG_DIRECTORY": str(tmp_path / "logs")}
    with serving(moods.write(tmp_path), tmp_path, **settings) as server:

        def attempt() -> None:
            log = tmp_path / "logs" / "schwift.log"
            before = len(log.read_text(encoding="utf-8").splitlines())
            refused = burst(server)
            lines = log.read_text(encoding="utf-8").splitlines()[before:]
            logged = [float(line.split(" ms=")[1].split()[0]) for line in lines if "code=overloaded" in line]
            assert len(logged) == len(refused) == BURST - ROOM
            within(max(logged) / 1e3, REFUSED_SECONDS)

        one_of_three(attempt)


def told(server: Server) -> float:
    """How many requests it says that it refused for want of room."""
    return metric(server, "schwift_responses_total", code="overloaded", status="503")


def burst(server: Server) -> list[float]:
    """The seconds that each refusal took. Answers are told apart by their numbers."""
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        socks = [stack.enter_context(connect(server)) for _ in range(BURST)]
        numbers = {sock.fileno(): i for i, sock in enumerate(socks)}
        requests = [request_bytes("moody", [[moods.SLEEPS if i == 0 else float(i), 2.0]]) for i in range(BURST)]
        for number in numbers:
            poll.register(number, select.EPOLLIN | select.EPOLLONESHOT)
        # Accepted, all of them: the kernel takes a connection before the server does.
        wait_for(lambda: metric(server, "schwift_in_flight") == 0)
        sent = []
        for sock, request in zip(socks, requests, strict=True):
            sent.append(time.monotonic())
            sock.sendall(request)
        came: dict[int, float] = {}
        while len(came) < BURST:
            ready = poll.poll(10)
            now = time.monotonic()
            assert ready, f"{BURST - len(came)} have no answer"
            came |= {numbers[number]: now - sent[numbers[number]] for number, _ in ready}
        statuses = [check(sock, i) for i, sock in enumerate(socks)]
    assert Counter(statuses) == {200: ROOM, 503: BURST - ROOM}
    return [came[i] for i, status in enumerate(statuses) if status == 503]


def check(sock: socket.socket, number: int) -> int:
    """The status of the answer to a request of the burst, which is as it must be."""
    with sock.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        head = {line.lower() for line in iter(stream.readline, b"\r\n")}
        length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"content-length"))
        body = json.loads(stream.read(length))
    if status == 200:
        assert body["predictions"] == [[-4.0 if number == 0 else 2.0 * number, 4.0]]
    else:
        assert (status, body["code"]) == (503, "overloaded")
        assert any(line.startswith(b"retry-after: ") for line in head)
    return status


@pytest.mark.timed
def test_R13_who_waits_past_its_deadline_is_told_on_time_and_not_sent(tmp_path: Path) -> None:
    with serving(moods.write(tmp_path), tmp_path) as server:

        def one(i: int) -> Answer:
            if i == 0:
                return ask(server, "moody", [[moods.SLEEPS, 1.5]])
            time.sleep(0.3)
            return ask(server, "moody", [[float(i), 1.0]], x_request_timeout_ms="400")

        def attempt() -> None:
            before = metric(server, "schwift_call_rows_total", model_name="moody")
            first, *waiting = at_once(6, one)
            assert first.status == 200
            assert codes(waiting) == [(504, "deadline_exceeded")] * 5
            calls = metric(server, "schwift_call_rows_total", model_name="moody") - before
            assert calls == 1, "only the slow one was sent"
            assert metric(server, "schwift_breaker_opened_total") == 0
            for answer in waiting:
                within(answer.seconds, 0.5, 0.38)

        one_of_three(attempt)


def test_R14_a_client_that_leaves_is_logged_and_harms_nobody(tmp_path: Path) -> None:
    settings = {"DEBUG_MODE": "True", "LOG_DIRECTORY": str(tmp_path / "logs")}
    with serving(moods.write(tmp_path), tmp_path, **settings) as server:
        for _ in range(25):
            with connect(server) as leaving:
                leaving.sendall(request_bytes("moody", [[moods.SLEEPS, 0.05]]))
        with connect(server) as leaving:
            leaving.sendall(request_bytes("moody", [[moods.SLEEPS, 1.0]]))
            wait_for(lambda: metric(server, "schwift_in_flight") == 1)
        # Its place is held until its call has ended, and who comes meanwhile is answered after it.
        assert metric(server, "schwift_in_flight") == 1
        answer = ask(server, "moody", [[3.0, 4.0]])
        assert (answer.status, answer.body["predictions"]) == (200, [[6.0, 8.0]])
        wait_for(lambda: metric(server, "schwift_in_flight") == 0)
        assert metric(server, "schwift_responses_total", code="client_left", status="499") == 26
        assert metric(server, "schwift_breaker_opened_total") == 0
        log = (tmp_path / "logs" / "schwift.log").read_text(encoding="utf-8")
        assert log.count("status=499 code=client_left") == 26
