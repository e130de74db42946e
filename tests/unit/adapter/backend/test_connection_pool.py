"""Connections between two calls."""

from __future__ import annotations

import asyncio

from adapter.backend.connection import Connection
from adapter.backend.connection_pool import ConnectionPool
from tests.support.fakes.loop import in_counted_time


def kept(count: int) -> tuple[ConnectionPool, list[Connection]]:
    idle, connections = ConnectionPool(), [Connection() for _ in range(count)]
    for connection in connections:
        idle.release(connection)
    return idle, connections


@in_counted_time
async def test_the_one_used_last_is_used_next() -> None:
    idle, (first, second) = kept(2)
    assert idle.acquire() is second
    assert idle.acquire() is first
    assert idle.acquire() is None


@in_counted_time
async def test_a_broken_one_is_neither_kept_nor_taken() -> None:
    idle, (first, second) = kept(2)
    second.close()
    assert idle.acquire() is first
    first.close()
    idle.release(first)
    assert len(idle) == 0


@in_counted_time
async def test_after_a_burst_those_that_nobody_needs_are_closed() -> None:
    """Two calls at a time go on after 30."""
    idle, connections = kept(30)
    for _ in range(12):
        await asyncio.sleep(1)
        for connection in [idle.acquire(), idle.acquire()]:
            assert connection is not None
            idle.release(connection)
    assert [connection.broken for connection in connections] == [False, *[True] * 27, False, False]
    assert len(idle) == 3


@in_counted_time
async def test_one_stays_for_the_next_call() -> None:
    idle, connections = kept(3)
    await asyncio.sleep(60)
    assert [connection.broken for connection in connections] == [False, True, True]
    assert idle.acquire() is connections[0]


@in_counted_time
async def test_what_canaries_use_is_not_kept_until_the_next_ones() -> None:
    """Six at once every ten seconds, whenever it is that connections are looked at."""
    for phase in (0.0, 0.4, 0.9, 1.4, 1.9):
        idle = ConnectionPool()
        idle.release(Connection())
        await asyncio.sleep(phase)
        held = []
        for _ in range(3):
            taken = [idle.acquire() or Connection() for _ in range(6)]
            for connection in taken:
                idle.release(connection)
            for _ in range(10):
                await asyncio.sleep(1)
                held.append(len(idle))
        assert [held[i : i + 10].count(1) >= 5 for i in (0, 10, 20)] == [True] * 3
        idle.close()


@in_counted_time
async def test_after_the_end_nothing_is_kept() -> None:
    idle, (first,) = kept(1)
    late = Connection()
    idle.close()
    idle.release(late)
    assert (first.broken, late.broken, len(idle)) == (True, True, 0)
