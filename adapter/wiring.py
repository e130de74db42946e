"""Put the adapter together: one object of each kind, made before the event loop serves and as old as the process.

`lifespan` is what runs beside the requests as long as the loop does. What is made before the workers fork is in
sharing.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from adapter.backend.host_client import HostClient, host_key_reader
from adapter.backend.protocol import InferenceBackend
from adapter.batching.batcher import Batcher
from adapter.batching.calls import ModelCalls
from adapter.batching.route import ModelRoute
from adapter.batching.shared_cores import SharedCores
from adapter.bindings import Bindings
from adapter.codec.off_loop import OffLoop
from adapter.http.gate import Gate
from adapter.http.semantics.cross_origin import CrossOrigin
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.lifecycle.health_check import HealthCheck
from adapter.lifecycle.liveness import ModelLiveness, canary_id
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.packs.host_notes import HostNotes
from adapter.lifecycle.packs.pack_control import PackControl
from adapter.lifecycle.packs.pack_keeper import PackKeeper
from adapter.lifecycle.packs.strikes import Strikes
from adapter.lifecycle.reaper import Reaper
from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.recovery import Recovery
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.registry_sync import RegistrySync
from adapter.lifecycle.sample_replay import SampleReplay
from adapter.lifecycle.served_model import Model
from adapter.lifecycle.smoke_test import SmokeTest
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from adapter.limits.admission import Admission
from adapter.limits.api_keys import ApiKeys
from adapter.limits.breakers import Breakers
from adapter.limits.rate_limit import Quota
from adapter.packs import Packs
from adapter.predictor import Predictor
from adapter.reload.control_server import ControlServer
from adapter.reload.reloader import Reloader
from adapter.request_timings import Traces
from adapter.sharing import SharedState
from adapter.telemetry.audit import Audit
from adapter.telemetry.metrics import Metrics
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters
from adapter.workers.own_cores import count_own_cores
from converter.schema.control import Folders
from converter.schema.manifest import Manifest, ModelEntry, read_manifest
from converter.schema.settings import RegimeName, Settings

_ADOPT_SECONDS = 0.01
_KEYS_SECONDS = 1.0


class Components:
    """One object of each kind that requests meet, in one worker process; made before the event loop serves.

    `worker` is this process's number among those that share `sharing`. `stubs` is None unless Triton runs on this
    machine.
    """

    def __init__(
        self, settings: Settings, manifest: Manifest, backend: InferenceBackend, sharing: SharedState, worker: int
    ) -> None:
        self.settings, self.backend, self.sharing, self.worker = settings, backend, sharing, worker
        table, timeout = sharing.table, settings.predict_timeout_seconds
        counters.begin(table, [entry.name for entry in (*manifest.hosts, *manifest.models)], worker)
        worker_counters = WorkerCounters(table, worker)
        worker_counters.cell(counters.ALL, counters.PID).set(os.getpid())
        self.stubs = StubProcesses(settings.triton_grpc) if settings.embedded else None
        # If no process is seen, none is known to be gone.
        whole = (lambda _: True) if self.stubs is None else self.stubs.whole
        self.registry = Registry(manifest, table, worker, whole)
        self.registry_sync = RegistrySync(self.registry, sharing.snapshot, sharing.lead)
        self.breakers = Breakers(sharing.breakers, worker, settings.circuit_breaker_recovery_timeout)
        self.awake, self.off_loop = AwakeClock(), OffLoop()
        self.host_client = HostClient(backend, host_key_reader(settings.repository))
        own_cores = count_own_cores(settings.workers)
        cores = SharedCores(max(2, own_cores) if settings.embedded else 0, time.monotonic, has_spare=own_cores > 1)
        self.packs = Packs(self.host_client, cores, self.registry.host_entry, worker_counters, time.monotonic)
        make_route = route_maker(backend, self.packs, cores, worker_counters, settings.regime, time.monotonic)
        self.bindings = Bindings(self.registry, self.breakers, worker_counters, make_route, self.registry_sync.catch_up)
        watch_deaths(self.registry, backend)
        most = settings.max_concurrent_requests
        admission = Admission(most, worker_counters.cell(counters.ALL, counters.IN_FLIGHT))
        self.service = Predictor(self.registry, self.bindings, admission, timeout, self.awake, self.off_loop)
        self.metrics = Metrics(self.registry, table, self.breakers, timeout, most)
        keys = None if settings.api_keys_file is None else ApiKeys(settings.api_keys_file, settings.internal_key)
        # A key may have a quota of its own.
        limited = settings.max_requests is not None or keys is not None
        period = settings.requests_period_seconds
        quota = Quota(settings.max_requests, period, sharing.clients) if limited else None
        origins = CrossOrigin(settings.cors_origin_list) if settings.cors_origins else None
        self.gate = Gate(keys, quota, Audit(), settings.trusted_hops, origins)


def route_maker(
    backend: InferenceBackend,
    packs: Packs,
    cores: SharedCores,
    worker_counters: WorkerCounters,
    regime: RegimeName | None,
    clock: Callable[[], float],
) -> Callable[[Model], ModelRoute]:
    """Return what makes the route of each model that comes to be served."""

    def make_route(model: Model) -> ModelRoute:
        entry = model.entry
        calls = ModelCalls(entry, model.codec, backend)
        batcher = (
            Batcher(calls, cores, worker_counters, clock)
            if entry.host is None
            else packs.join(entry.host, entry, model.codec)
        )
        return ModelRoute(calls, batcher, worker_counters, regime, clock)

    return make_route


def manifest_reader(settings: Settings) -> Callable[[Path], Manifest]:
    """Return what reads a repository's manifest, as far as this server serves it."""
    if settings.needs_fronts:
        return read_manifest
    return lambda repository: read_manifest(repository).without_fronts()


def watch_deaths(registry: Registry, backend: InferenceBackend) -> None:
    """Tell the registry of deaths that the backend learns late, and the backend whose calls nobody waits for."""

    def died(triton_model: str, began: float) -> None:
        for model in registry.all.values():
            if triton_model in model.entry.triton_models:
                model.report_dead(model.incarnation_at(began), "a late answer")

    def abandon(entry: ModelEntry) -> None:
        for name in entry.triton_models:
            backend.abandon(name)

    registry.watch_abandoned(abandon)
    backend.watch_deaths(died)


@contextlib.asynccontextmanager
async def lifespan(parts: Components, controlled: bool, traces: Traces | None) -> AsyncIterator[None]:
    """Look after models for the length of a block; `controlled` lets `schwift reload` speak to it."""
    settings, descriptor = parts.settings, parts.settings.supervisor_fd
    supervisor = None if descriptor is None else SupervisorPipe(descriptor)
    reaper = Reaper(parts.stubs, supervisor, settings.predict_timeout_seconds)
    packs = PackControl(parts.backend, parts.host_client, parts.registry.host_entry)
    replay = SampleReplay(packs, settings.repository, settings.predict_timeout_seconds)
    smoke_test = SmokeTest(packs, settings.predict_timeout_seconds, replay)
    loader = ModelLoader(parts.backend, reaper, smoke_test, settings.model_load_timeout_seconds, supervisor)
    reconciler = _reconciler(parts, loader, supervisor)
    adopted = counters.Cell(parts.sharing.table, counters.ALL, parts.worker, counters.ADOPTED)
    tasks = [
        asyncio.create_task(reconciler.run(), name="reconciler"),
        asyncio.create_task(parts.awake.beat(parts.bindings.refresh), name="awake clock"),
        asyncio.create_task(_follow_keys(parts.gate), name="keys"),
        asyncio.create_task(adopt(parts.registry, parts.bindings, adopted), name="adopt"),
    ]
    if controlled:
        control = _control(parts, loader)
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


def _reconciler(parts: Components, loader: ModelLoader, supervisor: SupervisorPipe | None) -> Reconciler:
    liveness = ModelLiveness(
        parts.sharing.table,
        parts.backend,
        parts.settings.predict_timeout_seconds,
        parts.awake.time,
        functools.partial(canary_id, parts.settings.repository),
    )
    health, recovery = HealthCheck(liveness, parts.stubs), Recovery(parts.stubs, supervisor)
    alive = (lambda _: True) if parts.stubs is None else parts.stubs.alive
    notes = HostNotes(parts.settings.notes, alive)
    strikes = Strikes(parts.packs.slow_members, parts.awake.clock)
    keeper = PackKeeper(parts.registry, loader, strikes, notes, parts.settings.repository)
    return Reconciler(parts.registry_sync, keeper, health, recovery, parts.breakers, parts.awake)


def _control(parts: Components, loader: ModelLoader) -> ControlServer:
    settings = parts.settings
    reloader = Reloader(parts.registry_sync, loader, parts.sharing.table, settings.predict_timeout_seconds)
    # Beside an adapter in a container of its own, the folders may have other names.
    folders = Folders()
    if settings.embedded:
        folders = Folders(
            models=settings.model_directory,
            repository=settings.repository,
            model_env=settings.model_env,
            cache=settings.cache_directory,
        )
    read, path = manifest_reader(settings), settings.control_path
    return ControlServer(reloader, parts.registry_sync, path, settings.repository, folders, read)


async def _follow_keys(gate: Gate) -> None:
    """Follow the keys' file within a second or so, and log the refusals that were only counted."""
    while True:
        await asyncio.sleep(_KEYS_SECONDS)
        gate.audit.tell()
        if gate.keys is not None:
            # The disk may be slow, and there may be many keys.
            await asyncio.to_thread(gate.keys.refresh)


async def adopt(registry: Registry, bindings: Bindings, mark: counters.Cell) -> None:
    """Write down which generation this worker serves, once nothing of those before is in flight."""
    while True:
        registry.new_generation.clear()
        while mark.mine != registry.generation:
            if bindings.leaving():
                await asyncio.sleep(_ADOPT_SECONDS)
            else:
                mark.set(registry.generation)
        # Not looked at every moment: an idle server is to sleep.
        await registry.new_generation.wait()
