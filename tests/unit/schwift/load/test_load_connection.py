from __future__ import annotations

from typing import cast

import pytest

from schwift.load.load_connection import LoadConnection
from tests.unit.schwift.load.scripted_server import response

CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    b'4\r\n{"a"\r\n5;x=y\r\n: [1]\r\n1\r\n}\r\n0\r\ntrailer: t\r\n\r\n'
)


class Owner:
    """Notes what it hears; `open` is false once the transport was aborted."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes, bool]] = []
        self.sent: list[bytes] = []
        self.losses: list[bool] = []
        self.open = True

    def opened(self, connection: LoadConnection) -> None:
        pass

    def answered(self, connection: LoadConnection, status: int, body: bytes, stays: bool) -> None:
        connection.due = 0.0
        self.heard.append((status, body, stays))

    def lost(self, connection: LoadConnection, is_http: bool) -> None:
        self.losses.append(is_http)

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def abort(self) -> None:
        self.open = False


def connect() -> tuple[Owner, LoadConnection]:
    owner = Owner()
    connection = LoadConnection(owner)
    # The owner stands for the transport too.
    connection.connection_made(cast("object", owner))  # type: ignore[arg-type]
    return owner, connection


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    ("packet", "heard"),
    [
        (response(b'{"a": [1]}'), (200, b'{"a": [1]}', True)),
        (response(b"", "204 No Content"), (204, b"", True)),
        (CHUNKED, (200, b'{"a": [1]}', True)),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"late"), (200, b"late", True)),
        (response(b"{}", "503 Busy", "Retry-After: 1"), (503, b"{}", True)),
        (response(b"bye", "200 OK", "Connection: close"), (200, b"bye", False)),
    ],
    ids=["length", "empty", "chunks", "continue", "error", "close"],
)
def test_an_answer_is_the_same_however_it_is_cut(packet: bytes, heard: tuple[int, bytes, bool], size: int) -> None:
    owner, connection = connect()
    connection.send(b"request", 3, 1.0)
    for at in range(0, len(packet), size):
        assert owner.heard == []
        connection.data_received(packet[at : at + size])
    assert owner.heard == [heard]
    assert (connection.number, connection.received, owner.open) == (3, len(packet), True)


def test_answers_follow_each_other_on_a_connection() -> None:
    owner, connection = connect()
    for number in range(3):
        connection.send(b"request %d" % number, number, 1.0)
        connection.data_received(CHUNKED if number == 1 else response(b"%d" % number))
    assert [body for _, body, _ in owner.heard] == [b"0", b'{"a": [1]}', b"2"]
    assert owner.sent == [b"request 0", b"request 1", b"request 2"]


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
def test_what_is_no_http_ends_the_connection(data: bytes) -> None:
    owner, connection = connect()
    connection.send(b"request", 0, 1.0)
    connection.data_received(data)
    assert (owner.heard, owner.open) == ([], False)
    connection.connection_lost(None)
    assert owner.losses == [False]


def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    owner, connection = connect()
    connection.data_received(response())
    assert (owner.heard, owner.open) == ([], False)


def test_a_connection_that_ends_midway_is_lost() -> None:
    owner, connection = connect()
    connection.send(b"request", 0, 1.0)
    connection.data_received(response(b"half of it")[:-3])
    connection.connection_lost(None)
    assert (owner.heard, owner.losses) == ([], [True])
