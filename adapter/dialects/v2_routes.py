"""The addresses of V2, the Open Inference Protocol; most inferences take a short cut past them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from adapter import errors
from adapter.bindings import UNKNOWN_IN_V2
from adapter.dialects import v2_metadata, v2_schemas
from adapter.http.asgi import AnswerResponse, ScopedRequest
from adapter.http.openapi import model_paths
from adapter.http.openapi.error_answers import every_error, header, refusals
from adapter.http.predict import PredictEndpoint
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.workers.shared_table import SharedTable

_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"
Responses = dict[int | str, dict[str, Any]]


class V2Models:
    """Find models as V2 clients name them; `catch_up` takes over what another worker knows of them."""

    def __init__(self, registry: Registry, table: SharedTable, catch_up: Callable[[], None]) -> None:
        self.registry = registry
        self.table = table
        self.catch_up = catch_up

    def find(self, name: str, version: str = "") -> Model:
        """Return a model; raise UnknownModel if there is none of this name, or if it is served in another version."""
        self.catch_up()
        model = self.registry.models.get(name)
        if model is None:
            raise errors.UnknownModel(UNKNOWN_IN_V2)
        served = str(model.entry.version)
        if version and version != served:
            raise errors.UnknownModel(f"This model is served in version {served} alone: ask for that, or for none.")
        return model


def v2_router(models: V2Models, predictions: PredictEndpoint) -> APIRouter:
    """Make the routes. Most inferences take a short cut to the same answer."""
    router = APIRouter(tags=["v2"])
    _add_server(router, models)

    async def metadata(name: str, version: str = "") -> Response:
        return _json(v2_metadata.describe_model(models.find(name, version).entry))

    async def model_ready(name: str, version: str = "") -> Response:
        return _as_ready({"name": name, "ready": models.find(name, version).available})

    async def config(name: str, version: str = "") -> Response:
        return _json(v2_metadata.describe_config(models.find(name, version).entry))

    async def statistics(name: str, version: str = "") -> Response:
        model = models.find(name, version)
        return _json({"model_stats": [v2_metadata.describe_statistics(model, models.table)]})

    async def infer(request: Request, name: str, version: str = "") -> Response:
        if version:
            models.find(name, version)
        scoped = ScopedRequest("v2", name, request.scope, request.receive)
        return AnswerResponse(await predictions.answer(scoped))

    _add(router, "", metadata, "What a model takes and answers", _found(v2_schemas.V2Model, 404))
    ready = {**_found(v2_schemas.V2ModelReady, 404), 503: _unready(v2_schemas.V2ModelReady)}
    _add(router, "/ready", model_ready, "Does a model answer?", ready)
    _add(router, "/config", config, "Its sizes, as Triton's configuration has them", _found(v2_schemas.V2Config, 404))
    _add(router, "/stats", statistics, "Counts and times of a model", _found(v2_schemas.V2Statistics, 404))
    answers = {200: _typed(v2_schemas.V2InferResponse), **every_error("kserve")}
    content = {"application/json": {"schema": model_paths.schema_of("V2InferRequest")}}
    extra = {"parameters": [model_paths.TIMEOUT], "requestBody": {"required": True, "content": content}}
    _add(router, "/infer", infer, "Predict", answers, method="POST", openapi_extra=extra)
    return router


def _add(
    router: APIRouter, end: str, answer: Callable[..., Any], summary: str, responses: Responses, method: str = "GET",
    **more: Any,
) -> None:  # fmt: skip
    """Add an address of a model, and the same of its version."""
    for start, name in ((_MODEL, f"v2_{answer.__name__}"), (_VERSION, f"v2_version_{answer.__name__}")):
        router.add_api_route(
            start + end, answer, methods=[method], name=name, operation_id=name, summary=f"V2: {summary}",
            responses=responses, **more,
        )  # fmt: skip


def _typed(model: Any) -> dict[str, Any]:
    return {"model": model}


def _found(model: Any, *statuses: int) -> Responses:
    """Return the OpenAPI responses of an address that answers this with 200."""
    return {200: _typed(model), **refusals("kserve", *statuses)}


def _unready(model: Any) -> dict[str, Any]:
    return {"model": model, "description": "not ready", "headers": {"Retry-After": header("RetryAfter")}}


def _add_server(router: APIRouter, models: V2Models) -> None:
    @router.get("/v2", operation_id="v2_server", summary="V2: the server", responses=_found(v2_schemas.V2Server))
    @router.get("/v2/", include_in_schema=False)
    async def server() -> Response:
        return _json(v2_metadata.describe_server())

    @router.get(
        "/v2/health/live", operation_id="v2_live", summary="V2: does it live?", responses=_found(v2_schemas.V2Live)
    )
    async def live() -> Response:
        return _json({"live": True})

    @router.get(
        "/v2/health/ready",
        operation_id="v2_ready",
        summary="V2: does every model answer?",
        responses={**_found(v2_schemas.V2Ready), 503: _unready(v2_schemas.V2Ready)},
    )
    async def ready() -> Response:
        models.catch_up()
        return _as_ready({"ready": models.registry.ready})

    # Before the address of one model, which would have this name.
    @router.get(
        "/v2/models/stats",
        operation_id="v2_all_statistics",
        summary="V2: counts and times of all models",
        responses=_found(v2_schemas.V2Statistics),
    )
    async def statistics_of_all() -> Response:
        models.catch_up()
        shown = models.registry.models.values()
        return _json({"model_stats": [v2_metadata.describe_statistics(model, models.table) for model in shown]})

    @router.post(
        "/v2/repository/index",
        operation_id="v2_index",
        summary="V2: all models with their states",
        responses=_found(list[v2_schemas.V2IndexEntry]),
    )
    async def index() -> Response:
        models.catch_up()
        return _json(v2_metadata.describe_index(models.registry))


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _as_ready(body: dict[str, Any]) -> Response:
    headers = {} if body["ready"] else {"Retry-After": "1"}
    return Response(orjson.dumps(body), 200 if body["ready"] else 503, headers, media_type="application/json")
