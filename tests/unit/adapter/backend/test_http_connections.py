"""The connections that HttpInference keeps: which are used again, which are not, and what is sent once more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from adapter import errors
from adapter.backend.connection import Connection, Response
from adapter.backend.http_client import HttpInference
from tests.support.fakes.triton_http import (
    FakeTritonHttp,
    Reply,
    Request,
    always,
    echo,
    one,
    until,
    value_of,
)
from tests.support.http.raw_http import (
    GOOD,
    ask,
    infer,
    talk,
)
from tests.support.living_objects import living


def test_calls_in_turn_share_a_connection() -> None:
    async def use(backend: HttpInference) -> None:
        before = living(Response)
        assert [await ask(backend, value, 1000) for value in range(20)] == list(range(20))
        # The last answer is this step's, which it woke.
        await asyncio.sleep(0)
        assert living(Response) <= before, "kept no longer than the call"

    fake = FakeTritonHttp(echo)
    talk(fake, use)
    assert len(fake.writers) == 1


def test_calls_at_a_time_have_a_connection_each_and_their_own_answers() -> None:
    async def later_first(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(fake.requests) < 5:
            await until(lambda: len(fake.requests) >= 5)
            await asyncio.sleep(0.01 - 0.002 * value_of(request) % 5)
        await echo(request, writer)

    async def use(backend: HttpInference) -> None:
        assert await asyncio.gather(*(ask(backend, i) for i in range(5))) == [0, 1, 2, 3, 4]
        assert sorted(request.connection for request in fake.requests) == [0, 1, 2, 3, 4]
        assert await asyncio.gather(*(ask(backend, 5 + i) for i in range(5))) == [5, 6, 7, 8, 9]
        assert len(fake.writers) == 5

    fake = FakeTritonHttp(later_first)
    talk(fake, use)


def test_connection_close_is_obeyed_and_none_is_left_open() -> None:
    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(one(value_of(request)).replace(b"\r\n", b"\r\nConnection: Close\r\n", 1))

    async def use(backend: HttpInference) -> None:
        assert [await ask(backend, value) for value in range(3)] == [0, 1, 2]
        assert [request.connection for request in fake.requests] == [0, 1, 2]
        await until(lambda: fake.ended == {0, 1, 2})

    fake = FakeTritonHttp(reply)
    talk(fake, use)


def test_an_idle_connection_that_the_server_closed_is_not_used() -> None:
    async def use(backend: HttpInference) -> None:
        assert list(await asyncio.gather(ask(backend, 1), ask(backend, 2))) == [1, 2]
        for writer in fake.writers:
            writer.close()
        await until(lambda: fake.ended == {0, 1})
        await asyncio.sleep(0.01)
        assert await ask(backend, 3, 0.5) == 3
        assert fake.requests[-1].connection == 2

    fake = FakeTritonHttp(echo)
    talk(fake, use)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_R4_on_a_connection_that_has_ended_or_is_ending_nothing_is_sent(make_loop: Callable[[], Any]) -> None:
    """As a new one has, which Triton accepted just before its own end."""
    fake = FakeTritonHttp(echo)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with fake.serving() as address:
            host, port = address.split(":")
            for turns in (0, 5):
                transport, connection = await loop.create_connection(Connection, host, int(port))
                transport.abort()
                for _ in range(turns):
                    await asyncio.sleep(0)
                assert connection.broken is bool(turns)
                with pytest.raises(errors.UpstreamDown):
                    await connection.send(b"never\r\n\r\n", loop)
                assert connection.broken
                assert not connection.heard
            await until(lambda: fake.ended == {0, 1})

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert fake.requests == []


@pytest.mark.parametrize("stray", [b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", one(7), b"stray"])
def test_a_connection_on_which_something_unasked_came_is_not_used(stray: bytes) -> None:
    async def use(backend: HttpInference) -> None:
        assert await ask(backend, 1) == 1
        fake.writers[0].write(stray)
        await asyncio.sleep(0.02)
        assert await ask(backend, 2, 0.5) == 2
        assert fake.requests[-1].connection == 1

    fake = FakeTritonHttp(echo)
    talk(fake, use)


def test_a_connection_with_bytes_after_its_answer_is_not_used() -> None:
    async def use(backend: HttpInference) -> None:
        assert await ask(backend, 7) == 7
        fake.reply = echo
        assert await ask(backend, 2, 0.5) == 2
        assert fake.requests[-1].connection == 1

    fake = FakeTritonHttp(always(one(7) + one(8)))
    talk(fake, use)


def test_nobody_there() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(errors.UpstreamDown):
        asyncio.run(infer(HttpInference(f"127.0.0.1:{port}")))


@pytest.mark.parametrize("sent", [0, 10, GOOD.index(b"\r\n\r\n") + 4, len(GOOD) - 1])
def test_a_connection_lost_in_the_middle_of_an_answer(sent: int) -> None:
    async def cut(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD[:sent])
        writer.close()

    async def use(backend: HttpInference) -> None:
        with pytest.raises(errors.UpstreamDown):
            await infer(backend)
        fake.reply = echo
        assert await ask(backend, 3, 0.5) == 3

    fake = FakeTritonHttp(cut)
    talk(fake, use)


def hang_up_when(*numbers: int, after: bytes = b"") -> Reply:
    """Ends the connection in place of the answers to these values."""

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        if value_of(request) in numbers:
            writer.write(after)
            await writer.drain()
            writer.transport.close()
        else:
            await echo(request, writer)

    return reply


def test_a_kept_connection_that_ends_without_a_byte_is_replaced_once() -> None:
    first = True

    async def reply(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        if value_of(request) == 2 and first:
            first = False
            writer.transport.abort()
        else:
            await echo(request, writer)

    fake = FakeTritonHttp(reply)

    async def use(backend: HttpInference) -> None:
        assert [await ask(backend, value) for value in (1, 2, 3)] == [1, 2, 3]

    talk(fake, use)
    assert [(request.connection, value_of(request)) for request in fake.requests] == [(0, 1), (0, 2), (1, 2), (1, 3)]


@pytest.mark.parametrize(("numbers", "after"), [((2,), b"HTTP/1.1 200"), ((1,), b"")])
def test_what_may_have_run_is_not_sent_again(numbers: tuple[int, ...], after: bytes) -> None:
    """An answer that had begun; a connection that was new."""
    fake = FakeTritonHttp(hang_up_when(*numbers, after=after))

    async def use(backend: HttpInference) -> None:
        for value in (1, 2):
            if value in numbers:
                with pytest.raises(errors.UpstreamDown):
                    await ask(backend, value)
                return
            assert await ask(backend, value) == value

    talk(fake, use)
    assert [value_of(request) for request in fake.requests].count(numbers[0]) == 1


def test_no_more_than_a_tenth_of_the_calls_is_sent_again() -> None:
    fake = FakeTritonHttp(hang_up_when(2))

    async def use(backend: HttpInference) -> None:
        for _ in range(50):
            await ask(backend, 1)
            with pytest.raises(errors.UpstreamDown):
                await ask(backend, 2)

    talk(fake, use)
    again = len(fake.requests) - 100
    assert 9 <= again <= 11


async def test_a_refused_connection_is_tried_once_more() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        backend = HttpInference(f"127.0.0.1:{sock.getsockname()[1]}")
        asked = asyncio.create_task(ask(backend, 5))
        await asyncio.sleep(0.005)
        sock.listen()
        server = await asyncio.start_server(FakeTritonHttp(echo).converse, sock=sock.dup())
        assert await asked == 5
        backend.close()
        server.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_triton_on_a_unix_socket_is_asked_there(
    tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Kept connections as with ports, and a server that is not there is one that is down."""
    fake = FakeTritonHttp(echo)

    async def main() -> None:
        async with fake.serving(tmp_path / "http.sock") as address:
            backend = HttpInference(address)
            assert [await ask(backend, value) for value in (1, 2, 3)] == [1, 2, 3]
        with pytest.raises(errors.UpstreamDown):
            await ask(backend, 4)
        backend.close()

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert len(fake.writers) == 1
    assert b"\r\nHost: localhost\r\n" in fake.requests[0].head
