"""Whether Triton answers, asked of a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from converter.embedded.pulse import Pulse


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def answering(listening: socket.socket, answer: bytes) -> Callable[[], None]:
    """Answer one connection; call what is returned to wait for it."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread.join


def pulse_of(listening: socket.socket) -> Pulse:
    return Pulse("127.0.0.1", listening.getsockname()[1])


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
def test_any_answer_is_a_sign_of_life(listening: socket.socket, status: bytes) -> None:
    pulse = pulse_of(listening)
    assert not pulse.answered
    done = answering(listening, b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    pulse.ask()
    done()
    assert (pulse.answered, pulse.silent_seconds) == (True, 0)


def test_questions_without_an_answer_are_counted_until_there_is_one(listening: socket.socket) -> None:
    pulse = pulse_of(listening)
    done = answering(listening, b"what?\r\n\r\n")
    pulse.ask()
    done()
    assert (pulse.answered, pulse.silent_seconds) == (False, 1)
    # It takes the connection and says nothing, as a stopped process does.
    pulse.ask()
    assert pulse.silent_seconds == 2
    listening.accept()[0].close()
    done = answering(listening, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    pulse.ask()
    done()
    assert (pulse.answered, pulse.silent_seconds) == (True, 0)
    pulse.forget()
    assert not pulse.answered


def test_a_refused_connection_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        pulse = pulse_of(sock)
    pulse.ask()
    pulse.ask()
    assert (pulse.answered, pulse.silent_seconds) == (False, 2)


def test_it_asks_by_itself_until_stopped(listening: socket.socket) -> None:
    pulse = pulse_of(listening)
    done = answering(listening, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    pulse.start()
    done()
    pulse.stop()
    assert pulse.answered
    assert not pulse._thread.is_alive()
