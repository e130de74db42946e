"""How long a connection may take at what it is at, by the clock that the sweep tells it, and how it ends then."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator

import pytest

from adapter.sockets.connection_bounds import (
    BODY_BYTES_A_SECOND,
    BODY_SECONDS,
    HEAD_SECONDS,
    LINGER_SECONDS,
    SWEEP_SECONDS,
    UNREAD_SECONDS,
)
from tests.support.http.bounded_server import BoundedServer, until

# Within what a run of these lines takes of real time.
SOON = 0.5
HEAD = "The request's head did not come in time"
BODY = "The request's body comes too slowly"
NOW = b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n"
# The parser tells of a header when the next one begins.
BEGUN = b"GET /now HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n/now"


def post(path: str, length: int) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), length)


async def test_A13_head_that_does_not_come_in_time_is_a_408() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(BEGUN)
        await until(lambda: one.protocol.headers)
        one.check(0)
        one.check(HEAD_SECONDS - SWEEP_SECONDS - SOON)
        assert one.protocol.waits_since is not None and one.protocol.waits_since > 0
        one.check(HEAD_SECONDS - SWEEP_SECONDS + SOON)
        # Nothing is read any more: of all it is the first to go.
        assert one.protocol.waits_since == -1
        status, body = await one.refusal()
        assert status == 408 and HEAD in body
        assert server.begun == []


async def test_head_that_came_to_a_loop_that_stood_still_is_not_refused() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(BEGUN)
        await until(lambda: one.protocol.headers)
        one.check(0)
        one.send(b"\r\n")
        one.check(HEAD_SECONDS)
        await one.arrives(ANSWER)
        assert len(server.begun) == 1


async def test_A13_body_that_stops_is_a_408_and_its_application_hears_that_the_client_left() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(post("/echo", 100) + b"x")
        await until(lambda: server.received)
        assert one.protocol.waits_since is None
        one.check(0)
        one.check(BODY_SECONDS - SOON)
        assert not one.protocol.transport.is_closing() and server.left == []
        one.check(BODY_SECONDS + SOON)
        status, body = await one.refusal()
        assert status == 408 and BODY in body
        await until(lambda: server.left == ["/echo"])


async def test_body_at_the_least_rate_goes_on_and_is_measured_anew() -> None:
    size = int(BODY_BYTES_A_SECOND * (BODY_SECONDS + 2))
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(post("/echo", size + 1) + b"x")
        await until(lambda: server.received)
        one.check(0)
        one.send(b"x" * (size - 1))
        await until(lambda: sum(map(len, server.received)) == size)
        one.check(BODY_SECONDS + SOON)
        one.check(2 * BODY_SECONDS)
        assert server.left == [] and server.state.connections
        one.check(2 * BODY_SECONDS + 2 * SOON)
        assert (await one.refusal())[0] == 408


async def test_slow_body_of_an_answer_that_has_begun_closes_the_connection() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(post("/begun", 100) + b"x")
        await one.arrives(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
        one.check(0)
        one.check(BODY_SECONDS + SOON)
        assert await one.closed()
        await until(lambda: server.left == ["/begun"])


async def test_A13_connection_without_a_request_is_closed() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.check(HEAD_SECONDS - SOON)
        assert not one.protocol.transport.is_closing()
        one.check(HEAD_SECONDS + SOON)
        assert one.protocol.transport.is_closing()
        assert one.protocol.waits_since is None
        # It is over: another look changes nothing.
        one.check(HEAD_SECONDS + SOON)
        assert await one.closed()


async def test_connection_that_was_used_is_kept_for_longer() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(NOW)
        await one.arrives(ANSWER)
        one.check(30 - SOON)
        one.send(NOW)
        # What came in the last moment is answered.
        one.check(30 + SOON)
        await one.arrives(ANSWER)
        one.check(30 + SOON)
        assert await one.closed()
        assert server.begun == ["/now"] * 2


async def test_A13_answer_that_nobody_takes_ends_its_connection() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: one.protocol.flow.write_paused and one.protocol.transport.get_write_buffer_size())
        one.check(0)
        one.check(UNREAD_SECONDS - SOON)
        left = one.protocol.transport.get_write_buffer_size()
        # Its client takes a part: the time begins anew.
        taken = 0
        while one.protocol.transport.get_write_buffer_size() == left:
            taken += len(await one.reader.read(1 << 20))
        assert taken > 0 and one.protocol.flow.write_paused
        one.check(UNREAD_SECONDS + SOON)
        assert not one.protocol.transport.is_closing()
        one.check(2 * UNREAD_SECONDS + 2 * SOON)
        assert one.protocol.transport.is_closing()


async def test_who_was_refused_may_read_that_while_what_it_sends_is_dropped() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        one.send(b"no HTTP\r\n\r\n")
        assert (await one.refusal())[0] == 400
        one.send(b"more of it")
        one.check(LINGER_SECONDS - SOON)
        assert server.state.connections
        one.check(LINGER_SECONDS + SOON)
        await until(lambda: not server.state.connections)
        assert server.begun == []


@pytest.fixture
def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (17, 17))
    yield


@pytest.mark.usefixtures("few_descriptors")
async def test_A13_connection_over_the_bound_of_descriptors_is_a_503() -> None:
    async with BoundedServer().serving() as server:
        async with server.connected() as one:
            status, body = await one.refusal()
        assert status == 503 and "Too many connections are open" in body


async def test_idle_connection_is_closed_when_it_is_told_and_reads_nothing_more() -> None:
    async with BoundedServer().serving() as server, server.connected() as one:
        since = one.protocol.waits_since
        assert since is not None and 0 <= asyncio.get_running_loop().time() - since < 10
        one.protocol.close_idle()
        one.send(NOW)
        assert await one.closed()
        assert server.begun == []


async def test_client_that_leaves_in_the_midst_is_told_to_its_application() -> None:
    async with BoundedServer().serving() as server:
        async with server.connected() as one:
            one.send(post("/echo", 5) + b"1")
            await until(lambda: server.received)
            one.writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            await until(lambda: server.left == ["/echo"])
        assert not server.state.connections
