"""The addresses of V2, the Open Inference Protocol; most inferences take a short cut past them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from adapter import errors
from adapter.bindings import UNKNOWN_IN_V2
from adapter.dialects import v2_metadata
from adapter.http.asgi import AnswerResponse, ScopedRequest
from adapter.http.predict import PredictEndpoint
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.workers.shared_table import SharedTable

_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"


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
    router = APIRouter(include_in_schema=False)
    _add_server(router, models)

    @router.get(_MODEL)
    @router.get(_VERSION)
    async def metadata(name: str, version: str = "") -> Response:
        return _json(v2_metadata.describe_model(models.find(name, version).entry))

    @router.get(_MODEL + "/ready")
    @router.get(_VERSION + "/ready")
    async def model_ready(name: str, version: str = "") -> Response:
        return _as_ready({"name": name, "ready": models.find(name, version).available})

    @router.get(_MODEL + "/config")
    @router.get(_VERSION + "/config")
    async def config(name: str, version: str = "") -> Response:
        return _json(v2_metadata.describe_config(models.find(name, version).entry))

    @router.get(_MODEL + "/stats")
    @router.get(_VERSION + "/stats")
    async def statistics(name: str, version: str = "") -> Response:
        model = models.find(name, version)
        return _json({"model_stats": [v2_metadata.describe_statistics(model, models.table)]})

    @router.post(_MODEL + "/infer")
    @router.post(_VERSION + "/infer")
    async def infer(request: Request, name: str, version: str = "") -> Response:
        if version:
            models.find(name, version)
        scoped = ScopedRequest("v2", name, request.scope, request.receive)
        return AnswerResponse(await predictions.answer(scoped))

    return router


def _add_server(router: APIRouter, models: V2Models) -> None:
    @router.get("/v2")
    @router.get("/v2/")
    async def server() -> Response:
        return _json(v2_metadata.describe_server())

    @router.get("/v2/health/live")
    async def live() -> Response:
        return _json({"live": True})

    @router.get("/v2/health/ready")
    async def ready() -> Response:
        models.catch_up()
        return _as_ready({"ready": models.registry.ready})

    # Before the address of one model, which would have this name.
    @router.get("/v2/models/stats")
    async def statistics_of_all() -> Response:
        models.catch_up()
        shown = models.registry.models.values()
        return _json({"model_stats": [v2_metadata.describe_statistics(model, models.table) for model in shown]})

    @router.post("/v2/repository/index")
    async def index() -> Response:
        models.catch_up()
        return _json(v2_metadata.describe_index(models.registry))


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _as_ready(body: dict[str, Any]) -> Response:
    headers = {} if body["ready"] else {"Retry-After": "1"}
    return Response(orjson.dumps(body), 200 if body["ready"] else 503, headers, media_type="application/json")
