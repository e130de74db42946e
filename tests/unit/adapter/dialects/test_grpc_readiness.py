"""gRPC's health checks over a real channel: what is told at once, at each change, to how many, and at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adapter.dialects.grpc_readiness import MOST_OF_ONE, MOST_WATCHING, ReadinessService
from adapter.dialects.v2_routes import V2Models
from adapter.lifecycle.registry import Registry
from adapter.workers import counters
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.served_models import make_registry

UNKNOWN, SERVING, NOT_SERVING = 3, 1, 2


@asynccontextmanager
async def checked(folder: Path) -> AsyncIterator[tuple[Registry, ReadinessService, Any]]:
    """A registry of one model that is ready, the service that tells of it, and a client of the service."""
    registry = make_registry(make_manifest(make_entry("m")))
    registry.triton_up = True
    registry.models["m"].status.adopt("ready")
    models = V2Models(registry, counters.make_table(["m"]), lambda: None)
    service = ReadinessService(models, ["a.Service"], lambda context: dict(context.invocation_metadata())["from"])
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(service, server)
    address = f"unix:{folder}/grpc.sock"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield registry, service, health_pb2_grpc.HealthStub(channel)
    finally:
        service.end()
        await server.stop(0)


def request(service: str = "") -> Any:
    return health_pb2.HealthCheckRequest(service=service)


def came_from(client: int) -> dict[str, Any]:
    return {"metadata": [("from", f"10.0.0.{client}")]}


async def test_who_watches_learns_of_each_change_and_of_the_end(tmp_path: Path) -> None:
    async with checked(tmp_path) as (registry, service, stub):
        watched = stub.Watch(request("a.Service"), **came_from(1))
        assert (await watched.read()).status == SERVING
        registry.triton_up = False
        assert (await watched.read()).status == NOT_SERVING
        assert (await stub.Check(request())).status == NOT_SERVING
        registry.triton_up = True
        assert (await watched.read()).status == SERVING
        service.end()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watched.read()
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_an_unknown_service_is_waited_for_and_not_found(tmp_path: Path) -> None:
    async with checked(tmp_path) as (_, _, stub):
        assert (await stub.Watch(request("other"), **came_from(1)).read()).status == UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Check(request("other"))
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND


async def test_so_many_watch_at_once_and_who_leaves_makes_room(tmp_path: Path) -> None:
    async with checked(tmp_path) as (_, _, stub):
        watching = [stub.Watch(request(), **came_from(i // MOST_OF_ONE)) for i in range(MOST_WATCHING)]
        assert {(await call.read()).status for call in watching} == {SERVING}
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Watch(request(), **came_from(99)).read()
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        # It holds nobody up who only asks.
        assert (await stub.Check(request())).status == SERVING
        watching[0].cancel()
        while True:
            try:
                assert (await stub.Watch(request(), **came_from(99)).read()).status == SERVING
                break
            except grpc.aio.AioRpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                await asyncio.sleep(0.01)


async def test_one_client_does_not_have_all_the_room(tmp_path: Path) -> None:
    async with checked(tmp_path) as (_, _, stub):
        watching = [stub.Watch(request(), **came_from(1)) for _ in range(MOST_OF_ONE)]
        assert {(await call.read()).status for call in watching} == {SERVING}
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Watch(request(), **came_from(1)).read()
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.Watch(request(), **came_from(2)).read()).status == SERVING
