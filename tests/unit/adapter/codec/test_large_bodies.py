"""Room for large bodies: taken before they are read, and given back whatever becomes of the request."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Sequence
from typing import Any

import pytest

from adapter.backend.protocol import Arrays
from adapter.codec.large_bodies import LARGE_BYTES, LargeBodies
from adapter.errors import Overloaded
from adapter.http.asgi import CLIENT_LEFT
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.http.web_app import make_app, running

LIMIT = 1024 * 1024
LARGE = b'{"features": [[1,2,3,4]]' + b" " * LARGE_BYTES + b"}"


def test_four_of_the_largest_have_room() -> None:
    bodies = LargeBodies(100)
    held = [bodies.begin() for _ in range(5)]
    for body in held[:4]:
        body.append(b"x" * 100)
    with pytest.raises(Overloaded):
        held[4].append(b"y")
    held.pop(0).close()
    held[-1].append(b"ab" * 30)
    with pytest.raises(Overloaded):
        held[-1].append(b"z" * 41)
    assert (os.pread(held[-1].memory, 100, 0), len(held[-1])) == (b"ab" * 30, 60)
    for body in held:
        body.close()
    bodies.check(400)


def test_without_a_file_descriptor_a_large_body_is_refused() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(Overloaded):
            LargeBodies(100).begin()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Client:
    """One request, whose body is `body` in pieces, seen from the server."""

    def __init__(self, body: bytes, length: bool, piece: int = 64 * 1024) -> None:
        self.pieces = [body[i : i + piece] for i in range(0, len(body), piece)]
        self.read = 0
        self.sent: list[Any] = []
        self.scope: dict[str, Any] = {
            "type": "http", "method": "POST", "path": "/predict/m", "query_string": b"", "client": ("192.0.2.1", 1),
            "headers": [(b"content-length", b"%d" % len(body))] if length else [],
        }  # fmt: skip

    async def receive(self) -> Any:
        self.read += 1
        return {"type": "http.request", "body": self.pieces[self.read - 1], "more_body": self.read < len(self.pieces)}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
async def test_over_the_room_a_large_body_is_refused_before_it_is_read_and_small_ones_are_served(length: bool) -> None:
    gate = asyncio.Event()

    async def wait(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        if arrays["x"][0, 0] == 1:
            await gate.wait()
        return await zeros(model, arrays, outputs)

    app = make_app(FakeBackend(wait), max_body_bytes=LIMIT)
    async with running(app) as client:
        held = [Client(LARGE, length) for _ in range(4 * LIMIT // len(LARGE))]
        tasks = [asyncio.create_task(app(one.scope, one.receive, one.send)) for one in held]
        await asyncio.sleep(0.05)
        refused = Client(LARGE, length)
        await app(refused.scope, refused.receive, refused.send)
        assert refused.status == 503
        assert refused.read <= (0 if length else 5)
        small = asyncio.create_task(client.post("/predict/m", json={"features": [[2, 2, 3, 4]]}))
        await asyncio.sleep(0.01)
        gate.set()
        await asyncio.gather(*tasks)
        assert [one.status for one in held] == [200] * len(held)
        assert (await small).status_code == 200
        again = Client(LARGE, length)
        await app(again.scope, again.receive, again.send)
        assert again.status == 200
        app.endpoint.bodies.large.check(4 * LIMIT)


async def test_A13_who_declares_a_large_body_and_sends_a_byte_takes_no_room() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    app = make_app(FakeBackend(), max_body_bytes=LIMIT)
    async with running(app):
        silent = [Client(b" ", True) for _ in range(8)]
        for one in silent:
            one.scope["headers"] = [(b"content-length", b"%d" % LIMIT)]
        tasks = [asyncio.create_task(app(one.scope, never, one.send)) for one in silent]
        await asyncio.sleep(0.01)
        served = [Client(LARGE, True) for _ in range(4)]
        await asyncio.gather(*(app(one.scope, one.receive, one.send) for one in served))
        assert [one.status for one in served] == [200] * 4
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        app.endpoint.bodies.large.check(4 * LIMIT)


async def test_R14_who_left_is_counted_as_499_though_the_call_was_answered() -> None:
    backend = FakeBackend()
    app = make_app(backend)
    async with running(app) as client:
        leaver = Client(b'{"features": [[1,2,3,4]]}', True)
        leaver.scope[CLIENT_LEFT] = True
        await app(leaver.scope, leaver.receive, leaver.send)
        text = (await client.get("/metrics")).text
    assert leaver.sent == []
    assert len(backend.calls) == 1
    assert 'schwift_responses_total{code="client_left",endpoint="predict",model_name="m",status="499"} 1.0' in text
    assert "schwift_in_flight 0.0" in text
