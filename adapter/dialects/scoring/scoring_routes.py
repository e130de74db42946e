"""The routes of KServe's V1 protocol and of MLflow's: models and their state, and predictions, for the documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from adapter import VERSION
from adapter.dialects.scoring.scoring_requests import ScoringAddresses
from adapter.http.asgi import AnswerResponse
from adapter.http.error_bodies import write_kserve
from adapter.http.openapi import model_paths
from adapter.http.openapi.error_answers import Dialect, every_error, header, refusals
from adapter.http.predict import PredictEndpoint
from adapter.lifecycle.registry import Registry

_PREDICTIONS = {
    "type": "object",
    "required": ["predictions"],
    "properties": {"predictions": {"type": "array", "items": {}}},
}
_INSTANCES = {"type": "object", "required": ["instances"], "properties": {"instances": {"type": "array", "items": {}}}}
_INVOCATION = {
    "type": "object",
    "properties": {
        "dataframe_split": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "columns": {"type": "array", "items": {"type": "string"}},
                "data": {"type": "array", "items": {"type": "array", "items": {}}},
            },
        },
        "dataframe_records": {"type": "array", "items": {"type": "object"}},
        "instances": {"type": "array", "items": {}},
        "inputs": {"anyOf": [{"type": "array", "items": {}}, {"type": "object"}]},
    },
}
_JSON = "application/json"
_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_ANSWER = {"description": "the predictions, in the order of the rows", "content": {_JSON: {"schema": _PREDICTIONS}}}


class V1Models(BaseModel):
    """The names of all models."""

    models: list[str]


class V1Ready(BaseModel):
    """Whether a model answers."""

    name: str
    ready: bool


def scoring_router(
    registry: Registry, predictions: PredictEndpoint, addresses: ScoringAddresses, catch_up: Callable[[], None]
) -> APIRouter:
    """Make the routes of both dialects; predictions mostly take a short cut to the same answer.

    `catch_up` takes over what another worker knows of the models.
    """
    router = APIRouter()

    async def predict(request: Request) -> Response:
        found = addresses.find(request.scope["path"], request.scope, request.receive)
        assert found is not None
        return AnswerResponse(await predictions.answer(found))

    def add(path: str, name: str, summary: str, content: dict[str, Any], dialect: Dialect, named: bool) -> None:
        parameters: list[dict[str, Any]] = [model_paths.TIMEOUT]
        if named:
            parameters.append({"name": "model_name", "in": "path", "required": True, "schema": {"type": "string"}})
        router.add_api_route(
            path,
            predict,
            methods=["POST"],
            name=name,
            operation_id=name,
            summary=summary,
            tags=["mlflow" if dialect == "mlflow" else "v1"],
            response_class=JSONResponse,
            responses={200: _ANSWER, **every_error(dialect)},
            openapi_extra={"parameters": parameters, "requestBody": {"required": True, "content": content}},
        )

    instances = {_JSON: {"schema": _INSTANCES}}
    invocation = {_JSON: {"schema": _INVOCATION}, "text/csv": {"schema": {"type": "string"}}}
    add("/v1/models/{model_name}:predict", "v1_predict", "KServe V1: predict", instances, "kserve", True)
    add("/invocations", "invocations", "MLflow: ask the default model", invocation, "mlflow", False)
    add("/models/{model_name}/invocations", "model_invocations", "MLflow: predict", invocation, "mlflow", True)
    _add_states(router, registry, catch_up)
    return router


def _add_states(router: APIRouter, registry: Registry, catch_up: Callable[[], None]) -> None:
    """Add what says which models there are, and whether they answer."""
    later = {"headers": {"Retry-After": header("RetryAfter")}}
    unready: dict[str, Any] = {"model": V1Ready, "description": "the model does not answer", **later}

    @router.get(
        "/v1/models",
        tags=["v1"],
        operation_id="v1_models",
        summary="KServe V1: the names of the models",
        responses=refusals("kserve"),
    )
    async def v1_models() -> V1Models:
        catch_up()
        return V1Models(models=list(registry.models))

    @router.get(
        "/v1/models/{model_name}",
        tags=["v1"],
        operation_id="v1_model",
        summary="KServe V1: is it ready?",
        responses={200: {"model": V1Ready}, 503: unready, **refusals("kserve", 404)},
    )
    async def v1_model(model_name: str) -> Response:
        if model_name.endswith(":predict"):
            # No model has a colon in its name: this is the address of predictions.
            raise HTTPException(405, headers={"Allow": "POST"})
        catch_up()
        model = registry.models.get(model_name)
        if model is None:
            error = write_kserve(404, "No model has this name: see /v1/models.", "unknown_model", "")
            return Response(error, 404, media_type=_JSON)
        content = orjson.dumps({"name": model_name, "ready": model.available})
        headers = {} if model.available else {"Retry-After": "1"}
        return Response(content, 200 if model.available else 503, headers, media_type=_JSON)

    @router.get(
        "/ping",
        tags=["mlflow"],
        operation_id="ping",
        summary="MLflow and SageMaker: 200 if every model answers",
        response_class=PlainTextResponse,
        responses={**refusals(), 503: {"description": "not every model answers", "content": _TEXT, **later}},
    )
    async def ping() -> Response:
        catch_up()
        headers = {} if registry.ready else {"Retry-After": "1"}
        return PlainTextResponse("\n", 200 if registry.ready else 503, headers)

    @router.get(
        "/version",
        tags=["mlflow"],
        operation_id="version",
        summary="MLflow: the server's version",
        response_class=PlainTextResponse,
        responses=refusals(),
    )
    async def version() -> str:
        return VERSION
