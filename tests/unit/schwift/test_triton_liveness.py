"""Whether Triton answers, asked of a real socket. The clock is counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from schwift.triton_liveness import TritonLiveness
from tests.support.processes import wait_until


class Asked:
    """A `TritonLiveness`, and the socket that it asks."""

    def __init__(self) -> None:
        self.now = 100.0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.liveness = TritonLiveness(f"127.0.0.1:{self.listening.getsockname()[1]}", 5, lambda: self.now)

    def question(self) -> socket.socket:
        """The next connection, once the whole question has come."""
        self.liveness.tick()
        connection, _ = self.listening.accept()
        connection.settimeout(0.01)
        got = b""

        def whole() -> bool:
            nonlocal got
            self.liveness.tick()
            try:
                got += connection.recv(4096)
            except TimeoutError:
                return False
            return got.endswith(b"\r\n\r\n")

        wait_until(whole)
        assert got.startswith(b"GET /v2/health/live HTTP/1.1\r\n")
        return connection

    def answer(self, data: bytes) -> None:
        """Answer the next question, and wait until the liveness has heard it."""
        with self.question() as connection:
            connection.sendall(data)
        self.hear()

    def hear(self) -> None:
        def heard() -> bool:
            self.liveness.tick()
            return not self.liveness.asking

        wait_until(heard)
        self.now += 1


@pytest.fixture
def asked() -> Iterator[Asked]:
    it = Asked()
    yield it
    it.liveness.close()
    it.listening.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_any_answer_is_a_sign_of_life(asked: Asked, answer: bytes) -> None:
    assert not asked.liveness.answered
    asked.answer(answer)
    assert (asked.liveness.answered, asked.liveness.silent_seconds) == (True, 0)


def test_seconds_without_an_answer_are_counted_until_there_is_one(asked: Asked) -> None:
    """It takes the connection and says nothing, as a stopped process does."""
    asked.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    for seconds in (1, 2, 3):
        with asked.question():
            for _ in range(7):
                asked.now += 0.125
                asked.liveness.tick()
                assert asked.liveness.silent_seconds == seconds - 1
            asked.now += 0.125
            asked.liveness.tick()
            assert asked.liveness.silent_seconds == seconds
    asked.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    assert asked.liveness.silent_seconds == 0


def test_a_connection_that_is_closed_or_refused_is_no_answer(asked: Asked) -> None:
    asked.answer(b"")
    assert (asked.liveness.answered, asked.liveness.silent_seconds) == (False, 1)
    asked.listening.close()
    asked.liveness.tick()
    asked.hear()
    assert (asked.liveness.answered, asked.liveness.silent_seconds) == (False, 2)


def test_one_question_a_second(asked: Asked) -> None:
    asked.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    asked.now -= 0.5
    for _ in range(20):
        asked.liveness.tick()
    assert not asked.liveness.asking
    asked.now += 0.5
    asked.liveness.tick()
    assert asked.liveness.asking


def test_while_we_ourselves_were_stopped_nobody_asked(asked: Asked) -> None:
    with asked.question():
        asked.now += 3600
        asked.liveness.tick()
        # Its answer may have come meanwhile, and has its whole time to be read.
        assert asked.liveness.silent_seconds == 0
        asked.now += 1
        asked.liveness.tick()
    assert asked.liveness.silent_seconds == 1


def test_another_triton_begins_anew(asked: Asked) -> None:
    asked.answer(b"x")
    with asked.question():
        asked.now += 1
        asked.liveness.tick()
    assert (asked.liveness.answered, asked.liveness.silent_seconds) == (True, 1)
    asked.liveness.tick()
    asked.liveness.reset()
    assert (asked.liveness.answered, asked.liveness.silent_seconds, asked.liveness.asking) == (False, 0, False)


def test_a_triton_on_a_unix_socket_is_asked_there(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "http.sock"))
        listening.listen()
        liveness = TritonLiveness(f"unix:{tmp_path / 'http.sock'}", 5, lambda: 100.0)
        liveness.tick()
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

            def answered() -> bool:
                liveness.tick()
                return liveness.answered

            wait_until(answered)
        liveness.close()
    assert liveness.silent_seconds == 0
