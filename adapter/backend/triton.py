"""Triton as the adapter uses it: inference over HTTP, which is fastest, and control over gRPC, which disturbs least.

A load over Triton's HTTP freezes its other HTTP clients for as long as it takes. The models' states are asked for over
HTTP: a call of gRPC wakes its threads some 60 times, which on an idle server is most of what the question costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapter import errors
from adapter.backend.grpc_control import GrpcControl, Metadata
from adapter.backend.http_client import HttpInference
from converter.schema.triton_key import HEADER


class Triton:
    """Serve as the adapter's InferenceBackend. Make it inside a running event loop.

    `http` and `grpc` are addresses, host:port or unix:path. `call_headers` is HttpInference's; `metrics_url` and `key`
    are GrpcControl's.
    """

    def __init__(
        self,
        http: str,
        grpc: str,
        metrics_url: str,
        call_headers: Callable[[], bytes] | None = None,
        key: Callable[[], Metadata] = tuple,
    ) -> None:
        self._http = HttpInference(http, call_headers)
        self._control = GrpcControl(grpc, metrics_url, key)
        self._key = key
        # Each as it is, with no call in between.
        self.infer = self._http.infer
        self.abandon = self._http.abandon
        self.watch_deaths = self._http.watch_deaths
        self.count_executions = self._control.count_executions
        self.load = self._control.load
        self.metrics = self._control.metrics

    async def states(self, timeout: float) -> Mapping[str, str]:
        """Return the models' states, as InferenceBackend has it: over HTTP if that tells them in half the time."""
        opens = "".join(f"{HEADER}: {key}\r\n" for _, key in self._key())
        try:
            return await self._http.states(timeout / 2, opens.encode())
        except errors.AdapterError:
            # Its HTTP may be shut to us, or be busy with large bodies.
            return await self._control.states(timeout / 2)

    async def unload(self, model: str, timeout: float) -> None:
        """Unload a model, end its processes, and drop its overdue calls."""
        await self._control.unload(model, timeout)
        self._http.forget(model)

    async def close(self) -> None:
        """Close the connections of both kinds."""
        self._http.close()
        await self._control.close()
