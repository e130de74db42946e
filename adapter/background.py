"""What runs beside the requests as long as the event loop does: models are loaded, reloaded and looked after."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator

from adapter.lifecycle.front_key import canary_id
from adapter.lifecycle.liveness import Watch
from adapter.lifecycle.model_locks import Turns
from adapter.lifecycle.reaper import Outliving
from adapter.lifecycle.reconciler import Keeper
from adapter.lifecycle.stub_processes import Supervisor
from adapter.limits.api_keys import ApiKeys
from adapter.predictor import PredictService
from adapter.reload.control_server import Control
from adapter.reload.reloader import Reloader, adopt
from adapter.request_timings import Traces
from adapter.telemetry.audit import Audit
from adapter.wiring import Parts
from adapter.workers import counters

_REFRESH_SECONDS = 0.5
_KEYS_SECONDS = 1.0


@contextlib.asynccontextmanager
async def running(parts: Parts, controlled: bool, traces: Traces | None) -> AsyncIterator[None]:
    """For the length of a block, which ends with the backend closed. `controlled`: `schwift reload` can speak to it."""
    descriptor, turns = parts.settings.supervisor_fd, Turns()
    supervisor = None if descriptor is None else Supervisor(descriptor)
    outliving = Outliving(parts.stubs, supervisor, parts.settings.predict_timeout_seconds)
    keeper = _keeper(parts, supervisor, turns, outliving)
    adopted = counters.Gauge(parts.sharing.board, counters.ALL, parts.worker, counters.ADOPTED)
    tasks = [
        asyncio.create_task(parts.awake.beat(), name="awake clock"),
        asyncio.create_task(keeper.run(), name="keeper"),
        asyncio.create_task(_refresh(parts.service), name="refresh"),
        asyncio.create_task(_follow_keys(parts.keys, parts.audit), name="keys"),
        asyncio.create_task(adopt(parts.registry, parts.service, adopted), name="adopt"),
    ]
    if controlled:
        control = _control(parts, supervisor, turns, outliving)
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


def _keeper(parts: Parts, supervisor: Supervisor | None, turns: Turns, outliving: Outliving) -> Keeper:
    settings = parts.settings
    watch = Watch(
        parts.sharing.board,
        parts.backend,
        settings.predict_timeout_seconds,
        parts.awake.time,
        functools.partial(canary_id, settings.repository),
    )
    return Keeper(
        parts.registry,
        parts.backend,
        settings.model_load_timeout_seconds,
        parts.sharing,
        deadline=settings.predict_timeout_seconds,
        guards=parts.guards,
        stubs=parts.stubs,
        supervisor=supervisor,
        turns=turns,
        news=parts.news,
        outliving=outliving,
        watch=watch,
        slept_since=parts.awake.slept_since,
    )


def _control(parts: Parts, supervisor: Supervisor | None, turns: Turns, outliving: Outliving) -> Control:
    settings = parts.settings
    reloader = Reloader(
        parts.registry,
        parts.backend,
        parts.sharing.board,
        parts.news.tell,
        settings.model_load_timeout_seconds,
        settings.predict_timeout_seconds,
        kill=supervisor.kill if supervisor is not None else lambda name: None,
        turns=turns,
        outliving=outliving,
    )
    return Control(reloader, parts.sharing.lead, settings.control_path, settings.repository, parts.news.follow)


async def _follow_keys(keys: ApiKeys | None, audit: Audit) -> None:
    """Changes of the keys' file count within a second or so, and refusals that were not said are."""
    while True:
        await asyncio.sleep(_KEYS_SECONDS)
        audit.tell()
        if keys is not None:
            # The disk may be slow, and there may be many keys.
            await asyncio.to_thread(keys.refresh)


async def _refresh(service: PredictService) -> None:
    """Models without traffic go back to idle."""
    while True:
        await asyncio.sleep(_REFRESH_SECONDS)
        service.refresh()
