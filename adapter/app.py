"""Puts the adapter together: one object of each kind, owned by the application's lifespan."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from adapter import VERSION, tally
from adapter.access import AccessLog
from adapter.admission import Admission
from adapter.backend.protocol import InferenceBackend
from adapter.control import Control
from adapter.guard import Guards
from adapter.hot import HotPath
from adapter.http_errors import HANDLERS
from adapter.keeper import Keeper
from adapter.metrics import Bounds, Metrics
from adapter.middleware import RequestId
from adapter.ratelimit import Quota
from adapter.registry import Registry
from adapter.reload import Reloader, adopt
from adapter.routes import predict_router, status_router
from adapter.service import PredictService
from adapter.sharing import Sharing
from adapter.stubs import Stubs, Supervisor
from adapter.timings import Traces
from adapter.turns import Turns
from converter.spec.manifest import Manifest
from converter.spec.settings import Settings

_REFRESH_SECONDS = 0.5
_DESCRIPTION = "Simple model serving for lite ML models. [The models](available_models) · [Metrics](metrics)"


def create_app(
    settings: Settings,
    manifest: Manifest,
    make_backend: Callable[[], InferenceBackend],
    sharing: Sharing | None = None,
    worker: int = 0,
    controlled: bool = False,
    traces: Traces | None = None,
) -> HotPath:
    """The ASGI application. `make_backend` is called here; its event loop is the one that serves.

    `worker` is this process's number among those that share `sharing`; `controlled` lets `schwift reload` speak to it.
    """
    names = [entry.name for entry in manifest.models]
    sharing = sharing or Sharing(names)
    board = sharing.board
    tally.begin(board, names, worker)
    registry = Registry(manifest, board, worker)
    admission = Admission(settings.max_concurrent_requests, tally.Gauge(board, tally.ALL, worker, tally.IN_FLIGHT))
    guards = Guards(sharing.breakers, worker, settings.circuit_breaker_recovery_timeout)
    bounds = Bounds(settings.predict_timeout_seconds, settings.max_concurrent_requests)
    metrics = Metrics(registry, board, guards, bounds)
    backend = make_backend()
    service = PredictService(
        registry, backend, board, worker, admission, guards, settings.predict_timeout_seconds, settings.regime
    )
    quota = None
    if settings.max_requests:
        quota = Quota(settings.max_requests, settings.requests_period_seconds, sharing.clients)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        supervisor = None if settings.supervisor_fd is None else Supervisor(settings.supervisor_fd)
        turns = Turns()
        keeper = Keeper(
            registry,
            backend,
            settings.model_load_timeout_seconds,
            sharing,
            deadline=settings.predict_timeout_seconds,
            guards=guards,
            stubs=Stubs(settings.triton_grpc) if settings.embedded else None,
            supervisor=supervisor,
            turns=turns,
        )
        reloader = Reloader(
            registry,
            backend,
            board,
            keeper.tell,
            settings.model_load_timeout_seconds,
            settings.predict_timeout_seconds,
            kill=supervisor.kill if supervisor is not None else lambda name: None,
            turns=turns,
        )
        control = Control(reloader, sharing.lead, settings.control_path, settings.repository, keeper.follow)
        adopted = tally.Gauge(board, tally.ALL, worker, tally.ADOPTED)
        tasks = [
            asyncio.create_task(keeper.run(), name="keeper"),
            asyncio.create_task(_refresh(service), name="refresh"),
            asyncio.create_task(adopt(registry, service, adopted), name="adopt"),
        ]
        if controlled:
            tasks.append(asyncio.create_task(control.run(), name="control"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await backend.close()
            if traces is not None:
                await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="SchwiftServe",
        description=_DESCRIPTION,
        version=VERSION,
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        redirect_slashes=False,
    )
    app.include_router(predict_router(registry))
    app.include_router(status_router(registry, metrics, board, backend, guards))
    registry.watch(lambda *_: setattr(app, "openapi_schema", None))
    access = AccessLog(stages=settings.debug_mode)
    app.add_middleware(RequestId, access=access)
    # In front of the framework, not as a middleware of it: its outer layers cost more than the whole request.
    return HotPath(app, service, quota, settings.max_body_bytes, access, traces)


async def _refresh(service: PredictService) -> None:
    """Models without traffic go back to idle."""
    while True:
        await asyncio.sleep(_REFRESH_SECONDS)
        service.refresh()
