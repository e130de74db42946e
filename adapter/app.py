"""Puts the adapter together: one object of each kind, owned by the application's lifespan."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from adapter.admission import Admission
from adapter.backend.protocol import InferenceBackend
from adapter.hot import HotPath
from adapter.http_errors import HANDLERS
from adapter.keeper import Keeper
from adapter.metrics import Metrics
from adapter.middleware import RequestId
from adapter.ratelimit import Quota
from adapter.registry import Registry
from adapter.routes import predict_router, status_router
from adapter.service import PredictService
from converter.spec.manifest import Manifest
from converter.spec.settings import Settings

_DESCRIPTION = "Simple model serving for lite ML models. [The models](available_models) · [Metrics](metrics)"


def create_app(settings: Settings, manifest: Manifest, make_backend: Callable[[], InferenceBackend]) -> FastAPI:
    """The ASGI application. `make_backend` is called here; its event loop is the one that serves."""
    registry = Registry(manifest)
    admission = Admission(settings.max_concurrent_requests)
    metrics = Metrics(registry, admission)
    backend = make_backend()
    service = PredictService(registry, backend, admission, settings.predict_timeout_seconds)
    quota = Quota(settings.max_requests, settings.requests_period_seconds) if settings.max_requests else None

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        keeper = asyncio.create_task(
            Keeper(registry, backend, settings.model_load_timeout_seconds).run(), name="keeper"
        )
        try:
            yield
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            await backend.close()

    app = FastAPI(
        title="SchwiftServe",
        description=_DESCRIPTION,
        version="0.1.0",
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        redirect_slashes=False,
    )
    app.include_router(predict_router(registry))
    app.include_router(status_router(registry, metrics, backend))
    app.add_middleware(RequestId)
    # The last one added is the first to see a request.
    app.add_middleware(HotPath, service=service, metrics=metrics, quota=quota, max_body_bytes=settings.max_body_bytes)
    return app
