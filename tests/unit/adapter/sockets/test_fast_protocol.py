"""Small requests past the ASGI server, on real sockets: the same answers as on the usual way, and the same manners."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from adapter.http import predict
from adapter.http.answer import Answer
from tests.support.http.prediction_server import (
    ENDING,
    GOOD,
    LIVE,
    SECONDS,
    SMALL,
    USUAL,
    WIDE,
    Running,
    asked,
    post,
    row,
    serving,
    wait_until,
)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("name", [*SMALL, *USUAL])
def test_the_answer_is_the_same_on_either_way(server: Running, name: str) -> None:
    request, status = {**SMALL, **USUAL}[name]
    before = server.express
    whole = asked(server, request)
    assert whole[0] == status, whole
    # What is not small and plain is not taken, nor is what comes in two packets.
    assert server.express - before == (name in SMALL)
    cut = min(request.index(b"\r\n\r\n") + 4, len(request) - 1)
    before = server.express
    assert asked(server, request[:cut], request[cut:]) == whole
    # Without a body the last packet ends the head, and so is all that is missing.
    assert server.express - before == (name == "no body")


def test_the_answer_is_right_and_has_the_clients_id(server: Running) -> None:
    with server.talk() as talk:
        for i in range(50):
            talk.send(post(json.dumps({"features": [[i, 1, 0, 0]]}).encode(), f"X-Request-Id: mine-{i}"))
            answer = talk.sock.recv(65536)
            assert f"x-request-id: mine-{i}\r\n".encode() in answer
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"model": "m", "predictions": [[i + 1, -i - 1]]}


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    server.gate.clear()
    with server.talk() as talk:
        talk.send(row(-3) + row(1) + LIVE + row(2) + row(4)[:-5])
        talk.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            talk.sock.recv(1)
        server.gate.set()
        talk.sock.settimeout(SECONDS)
        assert [talk.predictions(), talk.predictions()] == [[[-3, 3]], [[1, -1]]]
        assert talk.answer()[2] == b'{"status":"ok"}'
        assert talk.predictions() == [[2, -2]]
        talk.send(row(4)[-5:])
        assert talk.predictions() == [[4, -4]]


@pytest.mark.parametrize("seed", range(10))
def test_wherever_a_stream_of_requests_is_cut_the_answers_are_the_same(server: Running, seed: int) -> None:
    requests = [request for request, _ in (*SMALL.values(), *USUAL.values()) if request not in ENDING] + [LIVE]
    chance = random.Random(seed)
    chance.shuffle(requests)
    wanted = [asked(server, request) for request in requests]
    stream = b"".join(requests)
    cuts = sorted(chance.sample(range(1, len(stream)), 12))
    with server.talk() as talk:
        talk.send(*(stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])))
        assert [talk.answer() for _ in requests] == wanted


def test_a_head_that_came_before_says_the_same_and_any_other_what_it_says(server: Running) -> None:
    """Which a connection remembers; each request here differs from the first in what stands behind it."""
    first, second = row(1), row(2)
    assert len(first) == len(second) and first != second
    with server.talk() as talk:

        def ask(*pieces: bytes) -> tuple[int, dict[str, str], bytes]:
            talk.send(*pieces)
            return talk.answer()

        wanted = [ask(first), ask(second)]
        assert [json.loads(body)["predictions"][0] for _, _, body in wanted] == [[1.0, -1.0], [2.0, -2.0]]
        # In pieces, and two in a packet.
        assert ask(first[:-3], first[-3:]) == ask(first[:20], first[20:]) == wanted[0]
        talk.send(first + second + first)
        assert [talk.answer() for _ in range(3)] == [wanted[0], wanted[1], wanted[0]]
        # One byte of the head is another, or the body is longer or shorter.
        assert ask(first.replace(b"/predict/m ", b"/predict/n "))[0] == 404
        assert ask(second) == wanted[1]
        assert ask(first.replace(b"Host: x", b"Hast: x"))[0] == 400


def test_a_head_that_came_before_is_of_its_own_connection(server: Running) -> None:
    named = post(GOOD, "X-Request-Id: mine", "X-Request-Timeout-Ms: 5000")
    with server.talk() as one, server.talk() as other:
        for _ in range(2):
            one.send(named)
            other.send(row(3))
            # `answer` puts ID in place of the id: what is compared is the rest.
            assert one.answer()[0] == 200
            assert other.predictions() == [[3.0, -3.0]]


def test_thousands_of_different_rows_at_once_get_their_own_answers(server: Running) -> None:
    before = server.express
    with contextlib.ExitStack() as stack:
        talks = [stack.enter_context(server.talk()) for _ in range(50)]
        for turn in range(40):
            for i, talk in enumerate(talks):
                talk.send(row(1000 * turn + i))
            assert [talk.predictions()[0][0] for talk in talks] == [1000 * turn + i for i in range(50)]
    assert server.express - before == 2000


def test_R14_who_leaves_is_counted_and_its_neighbours_are_answered(server: Running) -> None:
    server.gate.clear()
    left = 'schwift_responses_total{code="client_left",endpoint="predict",model_name="m",status="499"} 3.0'
    assert left not in server.metrics()
    with server.talk() as neighbour:
        neighbour.send(row(-11))
        for _ in range(3):
            with server.talk() as leaver:
                leaver.send(row(-2))
                time.sleep(0.02)
        wait_until(lambda: server.calls("m", [[-11, 0, 0, 0]]))
        server.gate.set()
        assert neighbour.predictions() == [[-11, 11]]
    wait_until(lambda: left in server.metrics())


def test_who_does_not_read_is_not_worked_for(server: Running) -> None:
    rows = [[7.0, 2.0, 3.0, 4.0]] * 3
    wide = json.dumps({"features": rows}).encode()
    with server.talk() as talk:
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        talk.send(*[post(wide, path="/predict/wide")] * 12)
        time.sleep(0.3)
        # Some are in the system's buffers, one is on its way, one waits for it, and the others are not looked at.
        assert server.calls("wide", rows) <= 6
        for _ in range(12):
            assert np.array_equal(talk.predictions(), np.full((3, WIDE), 7.0))
    assert server.calls("wide", rows) == 12


def test_a_fault_of_ours_ends_the_connection_and_nothing_else(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: predict.PredictEndpoint, request: predict.Request) -> Answer:
        raise RuntimeError("on purpose")

    with server.talk() as other:
        other.send(row(1))
        assert other.predictions() == [[1, -1]]
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR), server.talk() as talk:
            patch.setattr(predict.PredictEndpoint, "answer", broken)
            talk.send(row(2))
            assert talk.ended()
        assert "on purpose" in caplog.text
        other.send(row(3))
        assert other.predictions() == [[3, -3]]


def test_an_idle_connection_is_closed_and_one_that_waits_is_not() -> None:
    with serving(keep_alive=1) as server, server.talk() as idle, server.talk() as waiting:
        idle.send(row(1))
        waiting.send(row(2))
        assert idle.predictions() == [[1, -1]]
        assert waiting.predictions() == [[2, -2]]
        waiting.send(row(-1))
        started = time.monotonic()
        assert idle.ended()
        assert time.monotonic() - started > 0.5
        time.sleep(1)
        server.gate.set()
        assert waiting.predictions() == [[-1, 1]]
        assert waiting.ended()
