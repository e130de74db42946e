"""GrpcControl against a gRPC server of Triton's protocol, on a socket of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from adapter import errors
from adapter.backend.grpc_control import GrpcControl, Metadata
from tests.support.servers.ports import free_port

T = TypeVar("T")


@dataclass
class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # the vendor ships no types
    """Answers, aborts with `fault`, or hangs while `hang` is set; its index is always answered.

    `index` may be several, one after the other, of which the last one stays.
    """

    fault: tuple[Any, str] | None = None
    hang: bool = False
    index: Any = field(default_factory=pb.RepositoryIndexResponse)
    requests: list[Any] = field(default_factory=list)
    # What each call carried of Triton's key.
    keys: dict[str, Any] = field(default_factory=dict)

    async def _answer(self, request: Any, context: Any, response: Any) -> Any:
        self.requests.append(request)
        self._note(request, context)
        if self.hang:
            await asyncio.Event().wait()
        if self.fault is not None:
            await context.abort(*self.fault)
        return response

    def _note(self, request: Any, context: Any) -> None:
        self.keys[type(request).__name__] = dict(context.invocation_metadata()).get("triton-grpc-protocol-schwift-key")

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        self._note(request, context)
        if isinstance(self.index, list):
            return self.index.pop(0) if len(self.index) > 1 else self.index[0]
        return self.index

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, pb.RepositoryModelLoadResponse())

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, pb.RepositoryModelUnloadResponse())


@contextlib.asynccontextmanager
async def connected(triton: FakeTriton, key: Callable[[], Metadata] = tuple) -> AsyncIterator[GrpcControl]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = GrpcControl(f"127.0.0.1:{port}", "http://127.0.0.1:1/metrics", key)
    try:
        yield backend
    finally:
        await backend.close()
        await server.stop(None)


def talk(triton: FakeTriton, use: Callable[[GrpcControl], Awaitable[T]], key: Callable[[], Metadata] = tuple) -> T:
    async def main() -> T:
        async with connected(triton, key) as backend:
            return await use(backend)

    return asyncio.run(main())


def test_control_carries_the_key() -> None:
    """Asked for each time, as it may be another by then."""
    keys = iter(("first", "second", "third", "fourth"))
    triton = FakeTriton()

    async def use(backend: GrpcControl) -> None:
        await backend.states(5)
        await backend.load("m", 5)
        await backend.unload("m", 5)

    talk(triton, use, lambda: (("triton-grpc-protocol-schwift-key", next(keys)),))
    assert triton.keys == {
        "RepositoryIndexRequest": "second", "RepositoryModelLoadRequest": "third",
        "RepositoryModelUnloadRequest": "fourth",
    }  # fmt: skip


def talk_to_nobody(use: Callable[[GrpcControl], Awaitable[T]]) -> T:
    async def main() -> T:
        backend = GrpcControl(f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}/metrics")
        try:
            return await use(backend)
        finally:
            await backend.close()

    return asyncio.run(main())


def test_nobody_there() -> None:
    async def use(backend: GrpcControl) -> None:
        with pytest.raises(errors.UpstreamDown):
            await backend.states(5)
        with pytest.raises(errors.UpstreamDown):
            await backend.load("m", 5)
        assert await backend.metrics(5) == b""

    talk_to_nobody(use)


def index(*states: tuple[str, str, str, str]) -> Any:
    response = pb.RepositoryIndexResponse()
    for name, version, state, reason in states:
        response.models.add(name=name, version=version, state=state, reason=reason)
    return response


def test_states_are_by_model_and_never_empty() -> None:
    models = index(("a", "1", "READY", ""), ("b", "1", "UNAVAILABLE", "unloaded"), ("c", "", "", ""))
    states = talk(FakeTriton(index=models), lambda backend: backend.states(5))
    by_name = {name: state for name, state in states.items() if "/" not in name}
    assert by_name == {"a": "READY", "b": "UNAVAILABLE", "c": "not loaded"}


def test_states_are_of_versions_too_and_a_model_is_ready_where_one_of_them_is() -> None:
    models = index(("a", "1", "UNAVAILABLE", ""), ("a", "2", "READY", ""), ("a", "3", "UNLOADING", ""))
    assert talk(FakeTriton(index=models), lambda backend: backend.states(5)) == {
        "a": "READY", "a/1": "UNAVAILABLE", "a/2": "READY", "a/3": "UNLOADING",
    }  # fmt: skip


def test_states_of_a_triton_that_does_not_answer_are_upstream_down() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        async def main() -> None:
            backend = GrpcControl(address, "http://127.0.0.1:1/metrics")
            with pytest.raises(errors.UpstreamDown):
                await backend.states(0.05)
            await backend.close()

        asyncio.run(main())


def test_load_names_the_model() -> None:
    triton = FakeTriton()
    talk(triton, lambda backend: backend.load("m_direct", 5))
    assert [request.model_name for request in triton.requests] == ["m_direct"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((grpc.StatusCode.INTERNAL, "failed to load 'm': bad file"), errors.ModelUnavailable),
        ((grpc.StatusCode.UNAVAILABLE, "load failed for model 'm'"), errors.ModelUnavailable),
        ((grpc.StatusCode.UNAVAILABLE, "Socket closed"), errors.UpstreamDown),
    ],
)
def test_a_failed_load_is_the_models_and_a_lost_connection_is_not(fault: Any, kind: type[errors.AdapterError]) -> None:
    with pytest.raises(errors.AdapterError) as caught:
        talk(FakeTriton(fault=fault), lambda backend: backend.load("m", 5))
    assert type(caught.value) is kind
    assert caught.value.inside == fault[1]


def test_a_load_that_hangs_is_the_models_fault_with_the_time_it_had() -> None:
    with pytest.raises(errors.ModelUnavailable) as caught:
        talk(FakeTriton(hang=True), lambda backend: backend.load("m", 0.05))
    assert caught.value.inside == "loading took over 0.05 s"


OTHER = ("other", "1", "READY", "")
GONE, LOADING, READY = (("m", "1", state, "") for state in ("UNAVAILABLE", "LOADING", "READY"))


def test_a_load_that_is_done_and_not_answered_is_done() -> None:
    triton = FakeTriton(hang=True, index=[index(OTHER, GONE), index(OTHER, LOADING), index(OTHER, READY)])
    talk(triton, lambda backend: backend.load("m", 30))
    assert [type(request) for request in triton.requests] == [pb.RepositoryModelLoadRequest]


def test_a_load_that_failed_and_is_not_answered_has_the_reason_of_the_index() -> None:
    failed = ("m", "1", "UNAVAILABLE", "Internal: no")
    with pytest.raises(errors.ModelUnavailable) as caught:
        talk(
            FakeTriton(hang=True, index=[index(), index(LOADING), index(OTHER, failed)]),
            lambda backend: backend.load("m", 30),
        )
    assert caught.value.inside == "Internal: no"


def test_an_answer_may_come_after_the_index_says_that_all_is_over() -> None:
    class Late(FakeTriton):
        async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
            await asyncio.sleep(0.25)
            await context.abort(grpc.StatusCode.INTERNAL, "failed to load 'm' after all")

    with pytest.raises(errors.ModelUnavailable) as caught:
        talk(Late(index=[index(GONE), index(READY)]), lambda backend: backend.load("m", 30))
    assert caught.value.inside == "failed to load 'm' after all"


def test_an_unload_that_is_done_and_not_answered_is_done() -> None:
    triton = FakeTriton(hang=True, index=[index(OTHER, READY), index(OTHER, ("m", "1", "UNLOADING", ""))])
    talk(triton, lambda backend: backend.unload("m", 30))
    assert [type(request) for request in triton.requests] == [pb.RepositoryModelUnloadRequest]


@pytest.mark.parametrize("states", [index(READY), index(LOADING)])
def test_an_unload_that_is_not_done_is_upstream_down(states: Any) -> None:
    with pytest.raises(errors.UpstreamDown):
        talk(FakeTriton(hang=True, index=states), lambda backend: backend.unload("m", 0.9))
