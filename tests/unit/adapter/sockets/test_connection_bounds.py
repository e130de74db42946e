"""Room for new connections where descriptors run out: the longest idle ones make it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from adapter.sockets.connection_bounds import ConnectionSweep

LIMIT = 256


@dataclass(eq=False)
class Idle:
    waits_since: float | None
    closed: bool = False

    def check(self, now: float) -> None: ...

    def close_idle(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (LIMIT, LIMIT))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_A13_nobody_is_closed_while_there_are_descriptors(loop: asyncio.AbstractEventLoop) -> None:
    connections = [Idle(float(i)) for i in range(100)]
    assert ConnectionSweep(loop, connections).has_room(LIMIT - 33)
    assert not any(one.closed for one in connections)


def test_A13_the_longest_idle_make_room_and_those_with_a_request_do_not(loop: asyncio.AbstractEventLoop) -> None:
    connections = [Idle(None if i % 2 else float(100 - i)) for i in range(100)]
    assert ConnectionSweep(loop, connections).has_room(LIMIT - 32)
    assert [i for i, one in enumerate(connections) if one.closed] == list(range(68, 100, 2))


def test_A13_where_all_are_busy_the_reserve_is_not_used_up(loop: asyncio.AbstractEventLoop) -> None:
    sweep = ConnectionSweep(loop, [Idle(None) for _ in range(100)])
    assert sweep.has_room(LIMIT - 17)
    assert not sweep.has_room(LIMIT - 16)
