"""Control Triton over gRPC: load, unload and watch its models, and fetch its metrics."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from adapter import errors
from adapter.backend.index import collect_states
from adapter.backend.load_progress import LoadProgress, State, States, unloaded
from adapter.backend.protocol import LOAD_TIMEOUT

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A proxy from the environment must not come between us and a Triton on this host.
    ("grpc.enable_http_proxy", 0),
    # What may be tried again is the adapter's decision.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
Metadata = tuple[tuple[str, str], ...]
# Between two looks at the index while a load or an unload goes on, and how long its answer may come after it ended.
_LOOK_SECONDS = 0.1
_ANSWER_SECONDS = 0.5
_UNIX = "unix:"


class GrpcControl:
    """All that the adapter asks of Triton but inference. Make it inside a running event loop.

    Addresses are host:port or unix:path; that of the metrics is a URL or unix:path. `key` gives what is sent with the
    calls that Triton takes from us alone: it is asked each time, as Triton may be started again with another.
    """

    def __init__(self, address: str, metrics_url: str, key: Callable[[], Metadata] = tuple) -> None:
        self._key = key
        self._metrics_url = metrics_url
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def states(self, timeout: float) -> Mapping[str, str]:
        """Return the state of each model that is loaded or was, as InferenceBackend has it."""
        return collect_states(await self._index(timeout))

    async def count_executions(self, model: str, timeout: float) -> int:
        """Return how many calls a model has ended, as InferenceBackend has it."""
        request = service_pb2.ModelStatisticsRequest(name=model)
        try:
            answer = await self._stub.ModelStatistics(request, timeout=timeout, metadata=self._key())
        except grpc.aio.AioRpcError as error:
            raise errors.UpstreamDown(errors.UNREACHABLE, error.details() or "") from error
        return sum(each.execution_count for each in answer.model_stats)

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        """Load or reload a model within `timeout` seconds; raise as InferenceBackend has it."""
        began = time.monotonic()
        load = LoadProgress(await self._states_of(model, timeout))
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        if config is not None:
            request.parameters["config"].string_param = config
        left = timeout - (time.monotonic() - began)
        try:
            end = await self._answer(
                self._stub.RepositoryModelLoad(request, timeout=left, metadata=self._key()), load.look, model
            )
        except grpc.aio.AioRpcError as error:
            text = error.details() or str(error.code())
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                text = f"{LOAD_TIMEOUT} {timeout:g} s"
            elif error.code() is grpc.StatusCode.UNAVAILABLE and "model" not in text:
                raise errors.UpstreamDown(errors.UNREACHABLE, text) from error
            raise errors.ModelUnavailable(errors.UNAVAILABLE, text) from error
        if end is not None and end.name != "READY":
            raise errors.ModelUnavailable(errors.UNAVAILABLE, end.reason)

    async def unload(self, model: str, timeout: float) -> None:
        """Unload a model within `timeout` seconds; raise UpstreamDown if Triton does not answer by then."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        try:
            call = self._stub.RepositoryModelUnload(request, timeout=timeout, metadata=self._key())
            await self._answer(call, unloaded, model)
        except grpc.aio.AioRpcError as error:
            raise errors.UpstreamDown(errors.UNREACHABLE, error.details() or "") from error

    async def _answer(self, call: Any, look: Callable[[States], State | None], model: str) -> State | None:
        """Wait for the answer to a load or an unload; return how it ended if the index alone tells that, else None."""
        answer = asyncio.ensure_future(call)
        ended: float | None = None
        try:
            while not (await asyncio.wait([answer], timeout=_LOOK_SECONDS))[0]:
                try:
                    end = look(await self._states_of(model, _LOOK_SECONDS))
                except errors.UpstreamDown:
                    # The call itself says what is wrong.
                    continue
                now = time.monotonic()
                if end is None:
                    ended = None
                elif ended is None:
                    ended = now
                elif now - ended > _ANSWER_SECONDS:
                    return end
            await answer
            return None
        finally:
            answer.cancel()

    async def _states_of(self, model: str, timeout: float) -> States:
        index = await self._index(timeout)
        return {each.version: State(each.state, each.reason) for each in index if each.name == model}

    async def _index(self, timeout: float) -> Sequence[Any]:
        """Return the name, version, state and reason of every version of each model."""
        try:
            index = await self._stub.RepositoryIndex(
                service_pb2.RepositoryIndexRequest(), timeout=timeout, metadata=self._key()
            )
        except grpc.aio.AioRpcError as error:
            raise errors.UpstreamDown(errors.UNREACHABLE, error.details() or "") from error
        models: Sequence[Any] = index.models
        return models

    async def metrics(self, timeout: float) -> bytes:
        """Return Triton's own metrics as Prometheus text; empty if it does not answer."""
        try:
            return await asyncio.to_thread(_get, self._metrics_url, timeout)
        except (OSError, ValueError, http.client.HTTPException):
            return b""

    async def close(self) -> None:
        """Close the gRPC channel."""
        await self._channel.close()


def _get(url: str, timeout: float) -> bytes:
    if url.startswith(_UNIX):
        return _get_unix(url.removeprefix(_UNIX), timeout)
    # No proxy from the environment, as for gRPC.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as response:
        body: bytes = response.read()
        return body


def _get_unix(path: str, timeout: float) -> bytes:
    connection = http.client.HTTPConnection("localhost", timeout=timeout)
    with contextlib.closing(connection):
        # It connects by itself only where it has no socket yet.
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(timeout)
        connection.sock.connect(path)
        connection.request("GET", "/metrics")
        return connection.getresponse().read()
