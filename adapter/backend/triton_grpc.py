"""Triton over gRPC, with raw tensors."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from adapter import errors
from adapter.backend.protocol import Arrays
from converter.spec import dtypes
from converter.spec.manifest import Tensor

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

_UNREACHABLE = "The inference server does not answer; try again shortly."
_UNAVAILABLE = "The model is not available now; try again shortly."
_DEADLINE = "The request did not finish within its deadline."

# Triton's texts, the most specific first: what each means to the caller.
_BY_TEXT: tuple[tuple[str, type[errors.AdapterError], str], ...] = (
    (
        "[schwift:bad_model_output]",
        errors.BadModelOutput,
        "The model's answer is not what its config promises.",
    ),
    ("[schwift:deadline]", errors.DeadlineExceeded, _DEADLINE),
    ("[schwift:model_unreachable]", errors.ModelUnavailable, _UNAVAILABLE),
    ("[schwift:model_error]", errors.ModelFailed, "The model raised an error on this input."),
    ("Exceeds maximum queue size", errors.QueueFull, "The model's queue is full; try again shortly."),
    ("Request timeout expired", errors.DeadlineExceeded, _DEADLINE),
    ("is not healthy", errors.ModelUnavailable, _UNAVAILABLE),
    ("is not ready", errors.ModelUnavailable, _UNAVAILABLE),
    ("no available versions", errors.ModelUnavailable, _UNAVAILABLE),
    ("unknown model", errors.ModelUnavailable, _UNAVAILABLE),
    ("is not found", errors.ModelUnavailable, _UNAVAILABLE),
    ("Server is stopping", errors.UpstreamDown, _UNREACHABLE),
)
_BY_CODE: Mapping[Any, tuple[type[errors.AdapterError], str]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (errors.DeadlineExceeded, _DEADLINE),
    grpc.StatusCode.UNAVAILABLE: (errors.UpstreamDown, _UNREACHABLE),
    grpc.StatusCode.NOT_FOUND: (errors.ModelUnavailable, _UNAVAILABLE),
    grpc.StatusCode.CANCELLED: (errors.UpstreamDown, _UNREACHABLE),
    grpc.StatusCode.INVALID_ARGUMENT: (
        errors.UpstreamRefused,
        "The inference server refused the request; the server's log has the details under this request_id.",
    ),
}


def translate(code: Any, text: str) -> errors.AdapterError:
    """Triton's status and text as one of our errors; the text itself stays inside."""
    for phrase, kind, detail in _BY_TEXT:
        if phrase in text:
            return kind(detail, text)
    if code in _BY_CODE:
        kind, detail = _BY_CODE[code]
        return kind(detail, text)
    # A C++ backend's errors carry no code of ours.
    return errors.ModelFailed("The model raised an error on this input.", text)


class TritonGrpc:
    """An InferenceBackend. Make it inside a running event loop."""

    def __init__(self, address: str, metrics_url: str) -> None:
        self._metrics_url = metrics_url
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    async def infer(
        self, model: str, inputs: Sequence[Tensor], arrays: Arrays, outputs: Sequence[Tensor], timeout: float
    ) -> Arrays:
        if timeout <= 0:
            raise errors.DeadlineExceeded(_DEADLINE)
        request = service_pb2.ModelInferRequest(model_name=model)
        for tensor in inputs:
            array = arrays[tensor.name]
            request.inputs.add(name=tensor.name, datatype=dtypes.by_name(tensor.dtype).triton, shape=array.shape)
            request.raw_input_contents.append(to_raw(array))
        for tensor in outputs:
            request.outputs.add(name=tensor.name)
        try:
            response = await self._stub.ModelInfer(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise translate(error.code(), error.details() or "") from error
        wanted = {tensor.name: tensor for tensor in outputs}
        try:
            return {
                item.name: from_raw(raw, promised(wanted[item.name], item.datatype), tuple(item.shape))
                for item, raw in zip(response.outputs, response.raw_output_contents, strict=True)
            }
        except (ValueError, KeyError) as error:
            raise errors.BadModelOutput("The model's answer is not what its config promises.", str(error)) from error

    async def live(self, timeout: float) -> bool:
        try:
            answer = await self._stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.live)

    async def states(self, timeout: float) -> Mapping[str, str]:
        try:
            index = await self._stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise errors.UpstreamDown(_UNREACHABLE, error.details() or "") from error
        return {model.name: model.state or "not loaded" for model in index.models}

    async def load(self, model: str, timeout: float) -> None:
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        try:
            await self._stub.RepositoryModelLoad(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            text = error.details() or str(error.code())
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                text = f"loading took over {timeout:g} s"
            elif error.code() is grpc.StatusCode.UNAVAILABLE and "model" not in text:
                raise errors.UpstreamDown(_UNREACHABLE, text) from error
            raise errors.ModelUnavailable(_UNAVAILABLE, text) from error

    async def metrics(self, timeout: float) -> bytes:
        try:
            return await asyncio.to_thread(_get, self._metrics_url, timeout)
        except (OSError, ValueError):
            return b""

    async def close(self) -> None:
        await self._channel.close()


def _get(url: str, timeout: float) -> bytes:
    # No proxy from the environment, as for gRPC.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as response:
        body: bytes = response.read()
        return body


def to_raw(array: npt.NDArray[Any]) -> bytes:
    """Triton's raw tensor: little-endian values in C order; a string is 4 bytes of length, then its bytes."""
    if array.dtype != np.object_:
        return array.tobytes()
    parts: list[bytes] = []
    for item in array.ravel().tolist():
        parts.append(len(item).to_bytes(4, "little"))
        parts.append(item)
    return b"".join(parts)


def promised(tensor: Tensor, datatype: str) -> dtypes.DType:
    """The dtype of a tensor. ValueError where Triton's answer says another."""
    dtype = dtypes.by_name(tensor.dtype)
    if datatype != dtype.triton:
        raise ValueError(f"output {tensor.name} is {datatype}, not {dtype.triton}")
    return dtype


def from_raw(raw: bytes, dtype: dtypes.DType, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The reverse of `to_raw`. ValueError where the bytes do not fill the shape."""
    if dtype.json != "string":
        return np.frombuffer(raw, dtype=dtype.numpy).reshape(shape)
    items: list[bytes] = []
    position = 0
    while position < len(raw):
        start = position + 4
        position = start + int.from_bytes(raw[start - 4 : start], "little")
        if position > len(raw):
            raise ValueError("a string is cut short")
        items.append(raw[start:position])
    array = np.empty(len(items), dtype=np.object_)
    array[:] = items
    return array.reshape(shape)
