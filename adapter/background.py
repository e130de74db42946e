"""What runs beside the requests as long as the event loop does: models are loaded, reloaded and looked after."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

from adapter.bindings import Bindings
from adapter.http.gate import Gate
from adapter.lifecycle.liveness import ModelLiveness, canary_id
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.model_locks import ModelLocks
from adapter.lifecycle.reaper import Reaper
from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.stub_processes import SupervisorPipe
from adapter.reload.control_server import ControlServer
from adapter.reload.reloader import Reloader, adopt
from adapter.request_timings import Traces
from adapter.wiring import Components
from adapter.workers import counters
from converter.schema.control import Folders

_REFRESH_SECONDS = 0.5
_KEYS_SECONDS = 1.0


@contextlib.asynccontextmanager
async def running(parts: Components, controlled: bool, traces: Traces | None) -> AsyncIterator[None]:
    """For the length of a block, which ends with the backend closed. `controlled`: `schwift reload` can speak to it."""
    descriptor, model_locks = parts.settings.supervisor_fd, ModelLocks()
    supervisor = None if descriptor is None else SupervisorPipe(descriptor)
    reaper = Reaper(parts.stubs, supervisor, parts.settings.predict_timeout_seconds)
    loader = ModelLoader(parts.backend, reaper, parts.settings.model_load_timeout_seconds, supervisor)
    reconciler = _reconciler(parts, supervisor, model_locks, reaper, loader)
    adopted = counters.Cell(parts.sharing.table, counters.ALL, parts.worker, counters.ADOPTED)
    tasks = [
        asyncio.create_task(parts.awake.beat(), name="awake clock"),
        asyncio.create_task(reconciler.run(), name="keeper"),
        asyncio.create_task(_refresh(parts.bindings), name="refresh"),
        asyncio.create_task(_follow_keys(parts.gate), name="keys"),
        asyncio.create_task(adopt(parts.registry, parts.bindings, adopted), name="adopt"),
    ]
    if controlled:
        control = _control(parts, model_locks, loader)
        tasks.append(asyncio.create_task(control.run(), name="control"))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        parts.off_loop.close()
        await parts.backend.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)


def _reconciler(
    parts: Components,
    supervisor: SupervisorPipe | None,
    model_locks: ModelLocks,
    reaper: Reaper,
    loader: ModelLoader,
) -> Reconciler:
    settings = parts.settings
    watch = ModelLiveness(
        parts.sharing.table,
        parts.backend,
        settings.predict_timeout_seconds,
        parts.awake.time,
        functools.partial(canary_id, settings.repository),
    )
    return Reconciler(
        parts.registry,
        parts.backend,
        loader,
        reaper,
        parts.sharing,
        deadline=settings.predict_timeout_seconds,
        breakers=parts.breakers,
        stubs=parts.stubs,
        supervisor=supervisor,
        model_locks=model_locks,
        registry_sync=parts.registry_sync,
        watch=watch,
        slept_since=parts.awake.slept_since,
    )


def _control(parts: Components, model_locks: ModelLocks, loader: ModelLoader) -> ControlServer:
    settings = parts.settings
    reloader = Reloader(
        parts.registry,
        parts.backend,
        parts.sharing.table,
        parts.registry_sync.publish,
        loader,
        settings.predict_timeout_seconds,
        model_locks=model_locks,
    )
    # Beside an adapter in a container of its own, the folders may have other names.
    folders = (
        Folders(models=settings.model_directory, repository=settings.repository) if settings.embedded else Folders()
    )
    return ControlServer(
        reloader, parts.sharing.lead, settings.control_path, settings.repository, parts.registry_sync.lead, folders
    )


async def _follow_keys(gate: Gate) -> None:
    """Changes of the keys' file count within a second or so, and refusals that were not said are."""
    while True:
        await asyncio.sleep(_KEYS_SECONDS)
        gate.audit.tell()
        if gate.keys is not None:
            # The disk may be slow, and there may be many keys.
            await asyncio.to_thread(gate.keys.refresh)


async def _refresh(bindings: Bindings) -> None:
    """Models without traffic go back to idle."""
    while True:
        await asyncio.sleep(_REFRESH_SECONDS)
        bindings.refresh()
