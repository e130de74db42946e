"""The routes of KServe's V1 protocol and of MLflow's: models and their state, and predictions, for the documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from adapter import VERSION
from adapter.dialects.scoring.scoring_requests import ScoringAddresses
from adapter.http import schemas
from adapter.http.asgi import AnswerResponse
from adapter.http.error_bodies import write_kserve
from adapter.http.predict import TIMEOUT_HEADER, PredictEndpoint
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
_HEADER = {
    "name": TIMEOUT_HEADER, "in": "header", "required": False, "schema": {"type": "integer", "minimum": 1},
    "description": "A deadline in milliseconds, if shorter than the server's own.",
}  # fmt: skip
_V1_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_MLFLOW_ERROR = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
_JSON = "application/json"


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

    def add(path: str, name: str, summary: str, content: dict[str, Any], error: dict[str, Any], named: bool) -> None:
        parameters = [_HEADER]
        if named:
            parameters.append({"name": "model_name", "in": "path", "required": True, "schema": {"type": "string"}})
        router.add_api_route(
            path,
            predict,
            methods=["POST"],
            name=name,
            operation_id=name,
            summary=summary,
            response_class=JSONResponse,
            responses=_responses(error),
            openapi_extra={"parameters": parameters, "requestBody": {"required": True, "content": content}},
        )

    instances = {_JSON: {"schema": _INSTANCES}}
    invocation = {_JSON: {"schema": _INVOCATION}, "text/csv": {"schema": {"type": "string"}}}
    add("/v1/models/{model_name}:predict", "v1_predict", "KServe V1: predict", instances, _V1_ERROR, True)
    add("/invocations", "invocations", "MLflow: ask the default model", invocation, _MLFLOW_ERROR, False)
    add("/models/{model_name}/invocations", "model_invocations", "MLflow: predict", invocation, _MLFLOW_ERROR, True)
    _add_states(router, registry, catch_up)
    return router


def _add_states(router: APIRouter, registry: Registry, catch_up: Callable[[], None]) -> None:
    """Add what says which models there are, and whether they answer."""
    refusals = schemas.refusals()
    unknown: dict[int | str, dict[str, Any]] = {
        404: {"description": "unknown model", "content": {_JSON: {"schema": _V1_ERROR}}},
        503: {"description": "the model does not answer"},
    }

    @router.get("/v1/models", summary="KServe V1: the names of the models", responses=refusals)
    async def v1_models() -> dict[str, list[str]]:
        catch_up()
        return {"models": list(registry.models)}

    @router.get("/v1/models/{model_name}", summary="KServe V1: is it ready?", responses={**refusals, **unknown})
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
        summary="MLflow and SageMaker: 200 if every model answers",
        response_class=PlainTextResponse,
        responses={**refusals, 503: {"description": "not every model answers"}},
    )
    async def ping() -> Response:
        catch_up()
        headers = {} if registry.ready else {"Retry-After": "1"}
        return PlainTextResponse("\n", 200 if registry.ready else 503, headers)

    @router.get(
        "/version", summary="MLflow: the server's version", response_class=PlainTextResponse, responses=refusals
    )
    async def version() -> str:
        return VERSION


def _responses(error: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return an OpenAPI response for every status of the error table, with this dialect's body."""
    body = {_JSON: {"schema": error}}
    ours = schemas.error_responses()
    errors = {status: {"description": found["description"], "content": body} for status, found in ours.items()}
    ok = {"description": "the predictions, in the order of the rows", "content": {_JSON: {"schema": _PREDICTIONS}}}
    return {200: ok, **errors}
