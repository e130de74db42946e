"""The endpoints of the README: read, call the service, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from adapter.backend.protocol import InferenceBackend
from adapter.http import schemas
from adapter.http.access_guard import BRIEF
from adapter.http.asgi import AnswerResponse, ScopedRequest
from adapter.http.openapi import model_paths
from adapter.http.openapi.error_answers import every_error, header, refusals
from adapter.http.predict import PredictEndpoint
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.breakers import Breakers
from adapter.page.page_files import PageFile, prefers_html
from adapter.telemetry import open_metrics
from adapter.telemetry.metrics import Metrics
from converter.schema.model import Endpoint

_METRICS_SECONDS = 2.0
# So many models are described in less than a millisecond; then requests have their turn.
_MODELS_A_SLICE = 32
_SUMMARIES: dict[Endpoint, str] = {
    "predict": "Predict at once, any number of rows",
    "predict_batched": "Predict one row, joined with other requests",
}
_DESCRIPTIONS: dict[Endpoint, str] = {
    "predict": "Goes straight to the model; more rows than its largest batch are sent in parts.",
    "predict_batched": "Waits at most `max_batch_delay_ms` for other requests. Several rows are refused.",
}
# Examples are added to it.
_BODY = {"required": True, "content": {"application/json": {"schema": model_paths.schema_of("PredictRequest")}}}
_PARAMETERS = [model_paths.TIMEOUT, model_paths.LABELS]


def predict_router(predictions: PredictEndpoint) -> APIRouter:
    """Make the routes of POST /predict/{model} and POST /predict_batched/{model}.

    Most requests take a short cut to the same answer.
    """
    router = APIRouter(tags=["predict"])

    def add(endpoint: Endpoint) -> None:
        async def route(request: Request, model_name: str = Path(description="`model.name`")) -> Response:
            scoped = ScopedRequest(endpoint, model_name, request.scope, request.receive)
            return AnswerResponse(await predictions.answer(scoped))

        router.add_api_route(
            f"/{endpoint}/{{model_name}}",
            route,
            methods=["POST"],
            name=endpoint,
            operation_id=endpoint,
            summary=_SUMMARIES[endpoint],
            description=_DESCRIPTIONS[endpoint],
            response_class=JSONResponse,
            responses={200: {"model": schemas.PredictResponse}, **every_error()},
            openapi_extra={"parameters": _PARAMETERS, "requestBody": _BODY},
        )

    add("predict")
    add("predict_batched")
    return router


def status_router(
    registry: Registry,
    metrics: Metrics,
    backend: InferenceBackend,
    breakers: Breakers,
    catch_up: Callable[[], None],
    page: PageFile,
) -> APIRouter:
    """Make the routes that say what is there and how it is: /available_models, /health…, /metrics.

    `catch_up` takes over what another worker knows of the models; `page` is what browsers get of the first.
    """
    router = APIRouter(responses=refusals(), tags=["status"])
    html: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}

    @router.get(
        "/available_models",
        response_model=schemas.AvailableModels,
        responses=html,
        operation_id="available_models",
        summary="The models, as JSON or HTML",
    )
    async def available_models(request: Request) -> Response:
        if prefers_html(request.headers.get("accept", "")):
            return page.respond(request, vary="Accept")
        catch_up()
        return JSONResponse({"models": await _describe_all(registry)}, headers={"Vary": "Accept"})

    _add_health(router, registry, metrics, breakers, catch_up)
    _add_metrics(router, metrics, backend, catch_up)
    return router


def _add_health(
    router: APIRouter, registry: Registry, metrics: Metrics, breakers: Breakers, catch_up: Callable[[], None]
) -> None:
    unready: dict[int | str, dict[str, Any]] = {
        503: {
            "model": schemas.Health,
            "description": "not every model answers",
            "headers": {"Retry-After": header("RetryAfter")},
        }
    }
    unready_in_brief: dict[int | str, dict[str, Any]] = {
        503: {**unready[503], "model": schemas.Health | schemas.Readiness}
    }

    @router.get(
        "/health",
        response_model=schemas.Health,
        responses=unready,
        operation_id="health",
        summary="200 if every model answers, else 503",
    )
    async def health() -> Response:
        catch_up()
        return _health(registry, metrics, breakers)

    @router.get(
        "/health/ready",
        response_model=schemas.Health | schemas.Readiness,
        responses=unready_in_brief,
        operation_id="health_ready",
        summary="The same, for a load balancer",
    )
    async def ready(request: Request) -> Response:
        catch_up()
        if request.scope.get(BRIEF, False):
            return _as_it_is(registry, {"status": _status(registry)})
        return _health(registry, metrics, breakers)

    @router.get("/health/live", operation_id="health_live", summary="200 while this process answers at all")
    async def live() -> schemas.Readiness:
        return schemas.Readiness(status="ok")


def _add_metrics(router: APIRouter, metrics: Metrics, backend: InferenceBackend, catch_up: Callable[[], None]) -> None:
    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses={200: {"content": {"application/openmetrics-text": {"schema": {"type": "string"}}}}},
        operation_id="metrics",
        summary="Prometheus: ours, then Triton's own",
    )
    async def prometheus(request: Request) -> Response:
        catch_up()
        asked = open_metrics.wants_open_metrics(",".join(request.headers.getlist("accept")))
        ours, tritons = await asyncio.gather(metrics.render(asked), backend.metrics(_METRICS_SECONDS))
        vary = {"Vary": "Accept"}
        if not asked:
            return Response(ours + tritons, headers=vary, media_type=open_metrics.TEXT_TYPE)
        whole = ours + open_metrics.to_open_metrics(tritons) + open_metrics.END
        return Response(whole, headers=vary, media_type=open_metrics.OPEN_TYPE)


async def _describe_all(registry: Registry) -> list[dict[str, Any]]:
    infos = []
    for number, model in enumerate(list(registry.models.values()), 1):
        infos.append(_info(model).model_dump(exclude_defaults=True))
        if number % _MODELS_A_SLICE == 0:
            await asyncio.sleep(0)
    return infos


def _info(model: Model) -> schemas.ModelInfo:
    entry = model.entry

    def tensors(items: Any) -> list[schemas.TensorInfo]:
        return [schemas.TensorInfo(name=item.name, dtype=item.dtype, shape=[-1, *item.dims]) for item in items]

    return schemas.ModelInfo(
        name=entry.name,
        version=entry.spec.version,
        description=entry.spec.description,
        backend=entry.spec.backend,
        state=model.status.state,
        endpoints=list(entry.spec.endpoints),
        inputs=schemas.list_inputs(entry),
        outputs=tensors(entry.outputs),
        max_batch_rows=entry.direct_max_rows,
        classes=list(entry.spec.classes) or None,
        pack=model.pack,
    )


def _status(registry: Registry) -> Literal["ok", "draining", "unavailable"]:
    return "ok" if registry.ready else "draining" if registry.draining else "unavailable"


def _health(registry: Registry, metrics: Metrics, breakers: Breakers) -> Response:
    health = schemas.Health(
        status=_status(registry),
        triton="up" if registry.triton_up else "down",
        breaker=breakers.triton.state,
        models={
            name: schemas.ModelHealth(
                state=model.status.state,
                reason=model.status.reason,
                load_seconds=model.status.load_seconds,
                regime=metrics.regime_of(name),
                breaker=breakers[name].model.state,
                last_failure=_last_failure(model),
            )
            for name, model in registry.models.items()
        },
    )
    return _as_it_is(registry, health.model_dump(mode="json"))


def _last_failure(model: Model) -> schemas.ModelFailure | None:
    failure = model.last_failure
    if failure is None:
        return None
    at = datetime.fromtimestamp(int(failure.at), timezone.utc)
    return schemas.ModelFailure(at=at, code=failure.code, reason=failure.reason)


def _as_it_is(registry: Registry, body: dict[str, Any]) -> Response:
    headers = {} if registry.ready else {"Retry-After": "1"}
    return Response(orjson.dumps(body), 200 if registry.ready else 503, headers, media_type="application/json")
