"""The V2 protocol over gRPC: GRPCInferenceService with health and reflection, in each worker on one port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
import orjson
from google.protobuf import json_format
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc import service_pb2

from adapter import errors
from adapter.dialects import v2_metadata
from adapter.dialects.grpc_readiness import ReadinessService
from adapter.dialects.v2_grpc_form import Named, V2GrpcRequest, make_grpc_form
from adapter.dialects.v2_routes import V2Models
from adapter.error_codes import STATUS_OF
from adapter.http.answer import Answer
from adapter.http.gate import Gate
from adapter.http.predict import PredictEndpoint
from adapter.limits.access_policy import READ
from adapter.limits.client_address import client_address, quota_address
from converter.errors import PortInUse
from converter.schema.settings import Settings

_log = logging.getLogger("schwift.adapter")

SERVICE = "inference.GRPCInferenceService"
# What is in flight when the server ends has so long.
_END_SECONDS = 10
# A client ends a call at its deadline, which by our clock may be some milliseconds ahead.
_DEADLINE_SLACK = 0.1
# More waiting calls than are let in are refused by our own bound, with a better word.
_SPARE_CALLS = 256
# What a message has besides its tensors.
_ROOM_BYTES = 64 * 1024
_CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT, 401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED, 404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED, 429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED, 500: grpc.StatusCode.INTERNAL, 502: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE, 504: grpc.StatusCode.DEADLINE_EXCEEDED,
}  # fmt: skip
_INTERNAL = "Something went wrong inside the server; its log has the details."
_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_TIMEOUT = b"x-request-timeout-ms"

Context = Any
Handler = Callable[[Any, Context], Awaitable[Any]]


class V2GrpcService:
    """Answer the calls of the service; inferences by the endpoint that answers those over HTTP."""

    def __init__(self, endpoint: PredictEndpoint, models: V2Models, gate: Gate) -> None:
        self._endpoint = endpoint
        self._models = models
        self._gate = gate
        # Else nothing would hold those whose clients have left.
        self._under_way: set[asyncio.Future[Answer]] = set()
        self._cut_at = math.inf

    def end(self, seconds: float) -> None:
        """Tell that the server cuts off in so many seconds what goes on then."""
        self._cut_at = time.monotonic() + seconds

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the handlers of all methods that are served; a client is told of any other that it is not there."""
        pb = service_pb2
        methods: dict[str, tuple[Handler, Any]] = {
            "ServerLive": (self._live, pb.ServerLiveRequest),
            "ServerReady": (self._ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._server, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model, pb.ModelMetadataRequest),
            "ModelConfig": (self._config, pb.ModelConfigRequest),
            "ModelStatistics": (self._statistics, pb.ModelStatisticsRequest),
            "RepositoryIndex": (self._index, pb.RepositoryIndexRequest),
        }
        served = {
            name: grpc.unary_unary_rpc_method_handler(self._guarded(handler), kind.FromString, _serialize)
            for name, (handler, kind) in methods.items()
        }
        # Its answer is bytes already.
        served["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer, pb.ModelInferRequest.FromString)
        return grpc.method_handlers_generic_handler(SERVICE, served)

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: Any, context: Context) -> Any:
            try:
                if self._gate.keys is not None:
                    self._gate.keys.admit(named_of(context), READ)
                return await handler(request, context)
            except errors.AdapterError as error:
                status, _ = STATUS_OF[type(error)]
                if isinstance(error, errors.Refused):
                    client = _client_of(context, self._gate)
                    self._gate.audit.refused(status, error.why, "read", "-", client, error.key, "-")
                return await context.abort(_CODES.get(status, _INVALID), error.detail)
            except grpc.aio.AbortError:
                raise
            except Exception:
                # Its text would reach the client.
                _log.exception("unexpected error in a call over gRPC")
                return await context.abort(grpc.StatusCode.INTERNAL, _INTERNAL)

        return answer

    async def _infer(self, message: Any, context: Context) -> bytes:
        named = named_of(context)
        left = context.time_remaining()
        if left is not None and math.isfinite(left) and not any(name == _TIMEOUT for name, _ in named):
            named = [*named, (_TIMEOUT, b"%d" % max(1, min(int(left * 1e3), 10**12)))]
        request = V2GrpcRequest(message, named, _peer(context))
        answer = await self._answer(request, context)
        context.set_trailing_metadata(
            [("x-request-id", answer.request_id), *((name.decode(), value.decode()) for name, value in answer.more)]
        )
        if answer.status != 200:
            said = orjson.loads(answer.content)["error"] if answer.content else "The client left."
            await context.abort(_CODES.get(answer.status, _INVALID), said)
        return answer.content

    async def _answer(self, request: V2GrpcRequest, context: Context) -> Answer:
        """Return the endpoint's answer; a call that its client cancels goes on, and is counted as one who left.

        Others may be in the same call of the model.
        """
        task = asyncio.ensure_future(self._endpoint.answer(request))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # A call whose time is over ends in the same way, and its answer is that of the deadline; and so does one
            # that the server cuts off.
            left = context.time_remaining()
            in_time = left is None or left > _DEADLINE_SLACK
            request.disconnected = in_time and time.monotonic() < self._cut_at
            raise

    async def _live(self, request: Any, context: Context) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    async def _ready(self, request: Any, context: Context) -> Any:
        self._models.catch_up()
        return service_pb2.ServerReadyResponse(ready=self._models.registry.ready)

    async def _model_ready(self, request: Any, context: Context) -> Any:
        return service_pb2.ModelReadyResponse(ready=self._models.find(request.name, request.version).available)

    async def _server(self, request: Any, context: Context) -> Any:
        return service_pb2.ServerMetadataResponse(**v2_metadata.describe_server())

    async def _model(self, request: Any, context: Context) -> Any:
        entry = self._models.find(request.name, request.version).entry
        return service_pb2.ModelMetadataResponse(**v2_metadata.describe_model(entry))

    async def _config(self, request: Any, context: Context) -> Any:
        described = v2_metadata.describe_config(self._models.find(request.name, request.version).entry)
        return json_format.ParseDict({"config": described}, service_pb2.ModelConfigResponse())

    async def _statistics(self, request: Any, context: Context) -> Any:
        self._models.catch_up()
        wanted = (
            [self._models.find(request.name, request.version)] if request.name
            else list(self._models.registry.models.values())
        )  # fmt: skip
        described = [v2_metadata.describe_statistics(model, self._models.table) for model in wanted]
        return json_format.ParseDict({"model_stats": described}, service_pb2.ModelStatisticsResponse())

    async def _index(self, request: Any, context: Context) -> Any:
        self._models.catch_up()
        described = v2_metadata.describe_index(self._models.registry)
        return json_format.ParseDict({"models": described}, service_pb2.RepositoryIndexResponse())


@contextlib.asynccontextmanager
async def serving(settings: Settings, endpoint: PredictEndpoint, models: V2Models, gate: Gate) -> AsyncIterator[None]:
    """Serve gRPC for the length of a block; what is in flight then is finished within seconds.

    Raises: PortInUse if the port cannot be had.
    """
    endpoint.add_dialect("v2_grpc", make_grpc_form)
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_concurrent_requests + _SPARE_CALLS,
        options=[
            ("grpc.max_receive_message_length", settings.max_body_bytes + _ROOM_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", settings.max_head_bytes),
            # Each worker listens on the port.
            ("grpc.so_reuseport", 1),
        ],
    )
    service = V2GrpcService(endpoint, models, gate)
    server.add_generic_rpc_handlers([service.handlers()])
    readiness = ReadinessService(models, [SERVICE], lambda context: quota_address(_client_of(context, gate)))
    health_pb2_grpc.add_HealthServicer_to_server(readiness, server)
    if gate.keys is None:
        # It shows no model; but with keys nothing is open that does not have to be.
        reflection.enable_server_reflection([SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    _listen(server, settings)
    await server.start()
    try:
        yield
    finally:
        readiness.end()
        service.end(_END_SECONDS)
        await server.stop(_END_SECONDS)


def _listen(server: Any, settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.tls_cert is not None and settings.tls_key is not None:
            pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
            server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise PortInUse(
            f"port {settings.grpc_port} on {settings.host} cannot be used: choose another (SCHWIFT_GRPC_PORT)"
        ) from error


def named_of(context: Context) -> Named:
    """Return a call's metadata as headers: bytes, in small letters as gRPC has them."""
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for name, value in context.invocation_metadata() or ()
    ]


def _client_of(context: Context, gate: Gate) -> str:
    return client_address(_peer(context), named_of(context), gate.trusted_hops)


def _peer(context: Context) -> str:
    """Return the address of a call's client, without its port: gRPC says `ipv4:127.0.0.1:1` or `ipv6:%5B::1%5D:1`."""
    kind, _, rest = unquote(context.peer() or "").partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else "-"


def _serialize(message: Any) -> bytes:
    written: bytes = message.SerializeToString()
    return written
