"""Triton as the adapter uses it: inference over HTTP, which is fastest, and control over gRPC, which disturbs least.

A load over Triton's HTTP freezes its other HTTP clients for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapter.backend.grpc_control import GrpcControl, Metadata
from adapter.backend.http_client import HttpInference
from adapter.backend.protocol import Arrays
from converter.schema.manifest import Tensor


class Triton(GrpcControl):
    """An InferenceBackend. Make it inside a running event loop. `key` is TritonGrpc's, `call_headers` TritonHttp's."""

    def __init__(
        self,
        http: str,
        grpc: str,
        metrics_url: str,
        call_headers: Callable[[], bytes] | None = None,
        key: Callable[[], Metadata] = tuple,
    ) -> None:
        super().__init__(grpc, metrics_url, key)
        self._http = HttpInference(http, call_headers)

    async def infer(
        self,
        model: str,
        inputs: Sequence[Tensor],
        arrays: Arrays,
        outputs: Sequence[Tensor],
        timeout: float,
        queued: bool = False,
        request_id: str = "",
    ) -> Arrays:
        return await self._http.infer(model, inputs, arrays, outputs, timeout, queued, request_id)

    async def unload(self, model: str, timeout: float) -> None:
        await super().unload(model, timeout)
        self._http.forget(model)

    def abandon(self, model: str) -> None:
        self._http.abandon(model)

    def watch_deaths(self, watcher: Callable[[str, float], None]) -> None:
        self._http.watch_deaths(watcher)

    async def close(self) -> None:
        self._http.close()
        await super().close()
