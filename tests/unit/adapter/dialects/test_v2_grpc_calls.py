"""Calls over gRPC that end early: which of them count as those of clients who left."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tritonclient.grpc import service_pb2

from adapter.dialects.v2_grpc_server import SERVICE, V2GrpcService


class Endless:
    """An endpoint that never answers, and the requests that came."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def answer(self, request: Any) -> Any:
        self.requests.append(request)
        await asyncio.Event().wait()


class Call:
    """What a handler sees of a call whose deadline is so many seconds ahead; None if it has none."""

    def __init__(self, left: float | None) -> None:
        self._left = left

    def time_remaining(self) -> float | None:
        return self._left

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


@pytest.mark.parametrize(
    ("left", "cut", "gone"),
    [(None, False, True), (float("inf"), False, True), (5.0, False, True),
     # Its time is over by the client's clock.
     (0.03, False, False), (0.0, False, False),
     # The server ends.
     (None, True, False), (5.0, True, False)],
)  # fmt: skip
async def test_who_cancels_before_the_deadline_has_left(left: float | None, cut: bool, gone: bool) -> None:
    endpoint = Endless()
    service = V2GrpcService(cast(Any, endpoint), cast(Any, None), cast(Any, None))
    details = SimpleNamespace(method=f"/{SERVICE}/ModelInfer", invocation_metadata=())
    handler = cast(Any, service.handlers().service(cast(Any, details)))
    call = asyncio.ensure_future(handler.unary_unary(service_pb2.ModelInferRequest(model_name="m"), Call(left)))
    while not endpoint.requests:
        await asyncio.sleep(0)
    assert endpoint.requests[0].disconnected is False
    # In ten seconds says nothing of now.
    service.end(0 if cut else 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert endpoint.requests[0].disconnected is gone
