"""The ASGI application: the framework, and the short cut for predictions in front of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from starlette.types import ASGIApp

from adapter import VERSION
from adapter.backend.protocol import InferenceBackend
from adapter.dialects.scoring.scoring_form import make_mlflow_form, make_v1_form
from adapter.dialects.scoring.scoring_requests import ScoringAddresses
from adapter.dialects.scoring.scoring_routes import scoring_router
from adapter.dialects.v2_form import make_form
from adapter.dialects.v2_routes import V2Models, v2_router
from adapter.dialects.v2_schemas import V2InferRequest
from adapter.http.access_guard import AccessGuard
from adapter.http.asgi import PathAsSent, PredictShortCut
from adapter.http.docs_page import add_docs_page
from adapter.http.error_handlers import HANDLERS
from adapter.http.openapi.document import OpenApiDocument, openapi_route
from adapter.http.predict import PredictEndpoint
from adapter.http.request_id import RequestId
from adapter.http.routes import predict_router, status_router
from adapter.http.schemas import PredictRequest
from adapter.http.semantics.compressed_documents import CompressedDocuments
from adapter.http.semantics.cross_origin import CrossOriginAnswers
from adapter.http.semantics.head_requests import HeadAsGet
from adapter.page.live_numbers import LiveNumbers
from adapter.page.page_files import read_page_files
from adapter.page.page_routes import page_router
from adapter.request_timings import Traces
from adapter.sharing import SharedState
from adapter.telemetry.access_log import AccessLog
from adapter.wiring import Components, lifespan
from converter.schema.manifest import Manifest
from converter.schema.settings import Settings

_log = logging.getLogger("schwift.adapter")
_DESCRIPTION = "Simple model serving for lite ML models. [The models](available_models) · [Metrics](metrics)"


def create_app(
    settings: Settings,
    manifest: Manifest,
    backend: InferenceBackend,
    sharing: SharedState,
    worker: int = 0,
    controlled: bool = False,
    traces: Traces | None = None,
) -> PredictShortCut:
    """Make the ASGI application.

    `worker` is this process's number among those that share `sharing`; `controlled` lets `schwift reload` speak to it.
    """
    parts = Components(settings, manifest, backend, sharing, worker)
    access = AccessLog(stages=settings.debug_mode)
    endpoint = PredictEndpoint(
        parts.service, parts.gate, settings.max_body_bytes, access, traces, settings.tells_reasons
    )
    endpoint.add_dialect("v2", make_form)
    endpoint.add_dialect("v1", make_v1_form)
    endpoint.add_dialect("mlflow", make_mlflow_form)
    if settings.default_model is not None and settings.default_model not in parts.registry.models:
        _log.warning("SCHWIFT_DEFAULT_MODEL: no model has this name now, so /invocations is 404")
    addresses = ScoringAddresses(lambda: parts.registry.models, settings.default_model)
    app = _framework(parts, endpoint, addresses, lambda: _alongside(parts, endpoint, controlled, traces))
    app.add_middleware(RequestId, access=access, trusted_hops=settings.trusted_hops)
    app.add_middleware(CompressedDocuments)
    app.add_middleware(PathAsSent)
    app.add_middleware(HeadAsGet)
    inner: ASGIApp = app
    gate = parts.gate
    if gate.keys is not None:
        inner = AccessGuard(app, gate.keys, gate.audit, access, gate.trusted_hops)
    if gate.origins is not None:
        # Before keys: a browser shows none when it asks whether it may.
        inner = CrossOriginAnswers(inner, gate.origins)
    # In front of the framework, not as a middleware of it: its outer layers cost more than the whole request.
    return PredictShortCut(inner, endpoint, addresses.find)


@contextlib.asynccontextmanager
async def _alongside(
    parts: Components, endpoint: PredictEndpoint, controlled: bool, traces: Traces | None
) -> AsyncIterator[None]:
    """Run what requests need, and the server of the other port if there is one, for the length of a block."""
    async with lifespan(parts, controlled, traces):
        if parts.settings.grpc_port is None:
            yield
            return
        # Imported where it is asked for: it costs megabytes in each worker.
        from adapter.dialects.v2_grpc_server import serving

        models = V2Models(parts.registry, parts.sharing.table, parts.registry_sync.catch_up)
        async with serving(parts.settings, endpoint, models, parts.gate):
            yield


def _framework(
    parts: Components,
    endpoint: PredictEndpoint,
    addresses: ScoringAddresses,
    alongside: Callable[[], contextlib.AbstractAsyncContextManager[None]],
) -> FastAPI:
    """Make every address, with its documents."""
    app = FastAPI(
        title="SchwiftServe",
        description=_DESCRIPTION,
        version=VERSION,
        lifespan=lambda _: alongside(),
        exception_handlers=HANDLERS,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # It has a route of its own.
        openapi_url=None,
    )
    add_docs_page(app)
    app.include_router(predict_router(endpoint))
    registry, metrics, breakers, catch_up = parts.registry, parts.metrics, parts.breakers, parts.registry_sync.catch_up
    files = read_page_files()
    app.include_router(status_router(registry, metrics, parts.backend, breakers, catch_up, files["/"]))
    most = parts.settings.max_concurrent_requests
    numbers = LiveNumbers(registry, parts.sharing.table, breakers, metrics, most)
    app.include_router(page_router(files, registry, numbers, catch_up))
    app.include_router(v2_router(V2Models(registry, parts.sharing.table, catch_up), endpoint))
    app.include_router(scoring_router(registry, endpoint, addresses, catch_up))
    locked, repository = parts.gate.keys is not None, parts.settings.repository
    bodies = (PredictRequest, V2InferRequest)
    document = OpenApiDocument(app, bodies, registry, repository, locked, catch_up)
    app.add_route("/openapi.json", openapi_route(document), include_in_schema=False)
    return app
