"""Triton as the adapter uses it: where its models' states come from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from adapter import errors
from adapter.backend.triton import Triton
from tests.support.fakes.triton_http import FakeTritonHttp, always, error_answer

KEY = "0123456789abcdef"
_HTTP_INDEX = json.dumps([{"name": "m", "version": "1", "state": "READY"}]).encode()
ANSWERS = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_HTTP_INDEX), _HTTP_INDEX)


class FakeControl(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # the vendor ships no types
    """Says that `m` is being loaded, and notes the key of each question."""

    def __init__(self) -> None:
        self.keys: list[object] = []

    async def RepositoryIndex(self, request: object, context: grpc.aio.ServicerContext) -> pb.RepositoryIndexResponse:
        self.keys.append(dict(context.invocation_metadata() or ()).get("triton-grpc-protocol-schwift-key"))
        response = pb.RepositoryIndexResponse()
        response.models.add(name="m", version="1", state="LOADING")
        return response


async def states_of(http: FakeTritonHttp, control: FakeControl, timeout: float) -> Mapping[str, str]:
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(control, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with http.serving() as address:
        key = (("triton-grpc-protocol-schwift-key", KEY),)
        triton = Triton(address, f"127.0.0.1:{port}", "http://127.0.0.1:1/metrics", key=lambda: key)
        try:
            return await triton.states(timeout)
        finally:
            await triton.close()
            await server.stop(None)


def test_states_come_over_http_which_is_opened_by_the_key() -> None:
    http, control = FakeTritonHttp(always(ANSWERS)), FakeControl()
    assert asyncio.run(states_of(http, control, 5)) == {"m/1": "READY", "m": "READY"}
    assert control.keys == []
    assert f"\r\nschwift-key: {KEY}\r\n".encode() in http.requests[0].head


@pytest.mark.parametrize(
    ("answer", "timeout"),
    [(error_answer(403, b'{"error":"This API is restricted"}'), 5), (b"", 2)],
    ids=["is shut", "does not answer"],
)
def test_states_come_over_grpc_where_http_does_not_tell_them(answer: bytes, timeout: float) -> None:
    control = FakeControl()
    states = asyncio.run(states_of(FakeTritonHttp(always(answer)), control, timeout))
    assert states == {"m/1": "LOADING", "m": "LOADING"}
    assert control.keys == [KEY]


def test_states_that_neither_tells_are_upstream_down() -> None:
    async def main() -> None:
        triton = Triton("127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1/metrics")
        with pytest.raises(errors.UpstreamDown):
            await triton.states(1)
        await triton.close()

    asyncio.run(main())
