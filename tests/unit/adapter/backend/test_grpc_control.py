"""TritonGrpc against a gRPC server of Triton's protocol, on a socket of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from adapter import errors
from adapter.backend.grpc_control import GrpcControl
from adapter.backend.protocol import InferenceBackend
from adapter.backend.raw_tensors import to_raw
from tests.faults.ports import free_port
from tests.support.fakes.entries import tensor

T = TypeVar("T")
X, TEXT = tensor(("x", "float32", (2,))), tensor(("text", "string", (1,)))
Y, LABEL = tensor(("y", "float32", (2,))), tensor(("label", "string", (1,)))
ARRAYS = {"x": np.array([[1, 2], [3, 4]], np.float32), "text": np.array([[b"a"], [b"bc"]], object)}


@dataclass
class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # the vendor ships no types
    """Answers with `response`, aborts with `fault`, or hangs while `hang` is set; its index is always answered.

    `index` may be several, one after the other, of which the last one stays.
    """

    response: Any = None
    fault: tuple[Any, str] | None = None
    hang: bool = False
    live: bool = True
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

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, self.response)

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return await self._answer(request, context, pb.ServerLiveResponse(live=self.live))

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
async def connected(triton: FakeTriton) -> AsyncIterator[InferenceBackend]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    backend = GrpcControl(f"127.0.0.1:{port}", "http://127.0.0.1:1/metrics")
    try:
        yield backend
    finally:
        await backend.close()
        await server.stop(None)


def talk(triton: FakeTriton, use: Callable[[InferenceBackend], Awaitable[T]]) -> T:
    async def main() -> T:
        async with connected(triton) as backend:
            return await use(backend)

    return asyncio.run(main())


def test_control_carries_the_key_and_inference_does_not() -> None:
    """Asked for each time, as it may be another by then."""
    keys = iter(("first", "second", "third", "fourth", "fifth"))
    triton = FakeTriton(response=answer())

    async def use(backend: InferenceBackend) -> None:
        assert isinstance(backend, GrpcControl)
        backend._key = lambda: (("triton-grpc-protocol-schwift-key", next(keys)),)
        await backend.states(5)
        await backend.load("m", 5)
        await backend.unload("m", 5)
        await infer(backend)

    talk(triton, use)
    assert triton.keys.pop("ModelInferRequest") is None
    assert triton.keys == {
        "RepositoryIndexRequest": "second", "RepositoryModelLoadRequest": "third",
        "RepositoryModelUnloadRequest": "fourth",
    }  # fmt: skip


def talk_to_nobody(use: Callable[[InferenceBackend], Awaitable[T]]) -> T:
    async def main() -> T:
        backend = GrpcControl(f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}/metrics")
        try:
            return await use(backend)
        finally:
            await backend.close()

    return asyncio.run(main())


async def infer(backend: InferenceBackend, timeout: float = 5.0) -> Any:
    return await backend.infer("m_direct", (X, TEXT), ARRAYS, (Y, LABEL), timeout)


def answer(**datatypes: str) -> Any:
    """A good answer: y is twice x, label is text; `datatypes` claim something else of an output."""
    response = pb.ModelInferResponse()
    labels = np.array([[b"\xc3\xa9"], [b""]], object)
    for name, datatype, array in (("y", "FP32", ARRAYS["x"] * 2), ("label", "BYTES", labels)):
        response.outputs.add(name=name, datatype=datatypes.get(name, datatype), shape=array.shape)
        response.raw_output_contents.append(to_raw(array))
    return response


def test_infer_sends_raw_tensors_and_reads_the_outputs_by_name() -> None:
    triton = FakeTriton(response=answer())
    outputs = talk(triton, infer)
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[2.0, 4.0], [6.0, 8.0]]
    assert outputs["label"].tolist() == [[b"\xc3\xa9"], [b""]]
    (request,) = triton.requests
    assert request.model_name == "m_direct"
    assert [(item.name, item.datatype, list(item.shape)) for item in request.inputs] == [
        ("x", "FP32", [2, 2]),
        ("text", "BYTES", [2, 1]),
    ]
    assert list(request.raw_input_contents) == [ARRAYS["x"].tobytes(), b"\x01\0\0\0a\x02\0\0\0bc"]
    assert [item.name for item in request.outputs] == ["y", "label"]


def test_outputs_in_another_order_are_still_matched_by_name() -> None:
    response = pb.ModelInferResponse()
    given = answer()
    for i in (1, 0):
        response.outputs.append(given.outputs[i])
        response.raw_output_contents.append(given.raw_output_contents[i])
    assert talk(FakeTriton(response=response), infer)["y"].tolist() == [[2.0, 4.0], [6.0, 8.0]]


def cut_short() -> Any:
    response = answer()
    response.raw_output_contents[0] = response.raw_output_contents[0][:-4]
    return response


def one_tensor_without_bytes() -> Any:
    response = answer()
    del response.raw_output_contents[1]
    return response


def unasked_output() -> Any:
    response = answer()
    response.outputs[0].name = "z"
    return response


@pytest.mark.parametrize(
    "response",
    [cut_short(), one_tensor_without_bytes(), unasked_output(), answer(y="INT32"), answer(label="FP32")],
    ids=["cut short", "no bytes", "other name", "other dtype of the same size", "other kind"],
)
def test_an_answer_that_does_not_hold_together_is_a_bad_output(response: Any) -> None:
    with pytest.raises(errors.BadModelOutput):
        talk(FakeTriton(response=response), infer)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((grpc.StatusCode.INTERNAL, "[schwift:model_error] ValueError: /secret"), errors.ModelFailed),
        ((grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"), errors.QueueFull),
        ((grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape"), errors.UpstreamRefused),
    ],
)
def test_what_triton_refuses_is_one_of_our_errors(fault: Any, kind: type[errors.AdapterError]) -> None:
    with pytest.raises(errors.AdapterError) as caught:
        talk(FakeTriton(fault=fault), infer)
    assert type(caught.value) is kind
    assert caught.value.inside == fault[1]


def test_a_hanging_triton_is_given_up_at_the_deadline() -> None:
    async def use(backend: InferenceBackend) -> float:
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            await infer(backend, 0.05)
        return time.monotonic() - started

    assert 0.03 < talk(FakeTriton(hang=True), use) < 1


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_deadline_in_the_past_is_not_sent(timeout: float) -> None:
    triton = FakeTriton(response=answer())
    with pytest.raises(errors.DeadlineExceeded):
        talk(triton, lambda backend: infer(backend, timeout))
    assert triton.requests == []


def test_cancelling_infer_cancels_and_nothing_else() -> None:
    async def use(backend: InferenceBackend) -> None:
        task = asyncio.create_task(infer(backend))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    talk(FakeTriton(hang=True), use)


def test_calls_of_a_model_whose_processes_were_ended_are_given_up() -> None:
    async def use(backend: InferenceBackend) -> None:
        tasks = [asyncio.create_task(infer(backend)) for _ in range(2)]
        await asyncio.sleep(0.02)
        backend.abandon("m")
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in tasks), "they are of another model"
        backend.abandon("m_direct")
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, errors.ModelProcessDead)
            assert error.detail == errors.UNAVAILABLE

    talk(FakeTriton(hang=True), use)


def test_nobody_there() -> None:
    async def use(backend: InferenceBackend) -> None:
        with pytest.raises(errors.UpstreamDown):
            await infer(backend)
        with pytest.raises(errors.UpstreamDown):
            await backend.states(5)
        with pytest.raises(errors.UpstreamDown):
            await backend.load("m", 5)
        assert await backend.live(5) is False
        assert await backend.metrics(5) == b""

    talk_to_nobody(use)


@pytest.mark.parametrize(("triton", "live"), [(FakeTriton(), True), (FakeTriton(live=False), False)])
def test_live_is_what_triton_says(triton: FakeTriton, live: bool) -> None:
    assert talk(triton, lambda backend: backend.live(5)) is live


def test_live_does_not_wait_for_a_hanging_triton() -> None:
    assert talk(FakeTriton(hang=True), lambda backend: backend.live(0.05)) is False


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
