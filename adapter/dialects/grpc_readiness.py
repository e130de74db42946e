"""gRPC's health checks: by the registry, with one word and to anybody, as /health/ready answers over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from adapter.dialects.v2_routes import V2Models

# Who watches learns within so long of a change.
_LOOK_SECONDS = 0.25
# Each is a call that does not end: more would take the room of others.
MOST_WATCHING = 128
# With one address, so that no client has all of them; behind a proxy that is not trusted many have the same.
MOST_OF_ONE = 32
_TOO_MANY = "Too many watch already: call Check in a while, or Watch again later."
_Status = health_pb2.HealthCheckResponse.ServingStatus

Context = Any


class ReadinessService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Says of each of `services` and of the whole server, which has no name, whether every model answers.

    `client_of` returns the address of a call's client.
    """

    def __init__(self, models: V2Models, services: Collection[str], client_of: Callable[[Context], str]) -> None:
        self._models = models
        self._services = services
        self._client_of = client_of
        # How many watch, by their clients' addresses.
        self._watching: Counter[str] = Counter()
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End the calls of all who watch: the server waits for no other that ends by itself."""
        self._ended.set()

    async def Check(self, request: Any, context: Context) -> Any:
        """Return SERVING if every model answers, else NOT_SERVING."""
        if not self._knows(request.service):
            await context.abort(grpc.StatusCode.NOT_FOUND, "No service has this name.")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:
        """Yield what Check says, now and at each change, until the server ends; SERVICE_UNKNOWN of another name."""
        client = self._client_of(context)
        if self._watching.total() >= MOST_WATCHING or self._watching[client] >= MOST_OF_ONE:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, _TOO_MANY)
        self._watching[client] += 1
        try:
            told = None
            while not self._ended.is_set():
                status = self._status(request.service)
                if status != told:
                    yield health_pb2.HealthCheckResponse(status=status)
                    told = status
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), _LOOK_SECONDS)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The server ends.")
        finally:
            # Those that are 0 would pile up.
            self._watching -= Counter([client])

    def _knows(self, service: str) -> bool:
        return service == "" or service in self._services

    def _status(self, service: str) -> Any:
        if not self._knows(service):
            return _Status.SERVICE_UNKNOWN
        self._models.catch_up()
        return _Status.SERVING if self._models.registry.ready else _Status.NOT_SERVING
