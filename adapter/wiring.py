"""One object of each kind that a request meets, made before the event loop serves and as old as the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from adapter.backend.protocol import InferenceBackend
from adapter.batching.calls import ModelCalls
from adapter.batching.route import ModelRoute
from adapter.bindings import Bindings
from adapter.codec.off_loop import OffLoop
from adapter.http.gate import Gate
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.registry_sync import RegistrySync
from adapter.lifecycle.served_model import Model
from adapter.lifecycle.stub_processes import StubProcesses
from adapter.limits.admission import Admission
from adapter.limits.api_keys import ApiKeys
from adapter.limits.breakers import Breakers
from adapter.limits.rate_limit import Quota
from adapter.predictor import Predictor
from adapter.sharing import SharedState
from adapter.telemetry.audit import Audit
from adapter.telemetry.metrics import Bounds, Metrics
from adapter.workers import counters
from adapter.workers.counters import WorkerCounters
from converter.schema.manifest import Manifest, ModelEntry
from converter.schema.settings import RegimeName, Settings


@dataclass(frozen=True)
class Components:
    """`worker` is this process's number among those that share `sharing`; `stubs` where Triton runs beside it."""

    settings: Settings
    sharing: SharedState
    worker: int
    registry: Registry
    registry_sync: RegistrySync
    backend: InferenceBackend
    breakers: Breakers
    metrics: Metrics
    bindings: Bindings
    service: Predictor
    gate: Gate
    stubs: StubProcesses | None
    awake: AwakeClock
    off_loop: OffLoop


def make_components(
    settings: Settings,
    manifest: Manifest,
    make_backend: Callable[[], InferenceBackend],
    sharing: SharedState | None,
    worker: int,
) -> Components:
    names = [entry.name for entry in manifest.models]
    sharing = sharing or SharedState(names)
    table = sharing.table
    counters.begin(table, names, worker)
    worker_counters = WorkerCounters(table, worker)
    stubs = StubProcesses(settings.triton_grpc) if settings.embedded else None
    registry = Registry(manifest, table, worker) if stubs is None else Registry(manifest, table, worker, stubs.whole)
    registry_sync = RegistrySync(registry, sharing.snapshot)
    admission = Admission(settings.max_concurrent_requests, worker_counters.cell(counters.ALL, counters.IN_FLIGHT))
    breakers = Breakers(sharing.breakers, worker, settings.circuit_breaker_recovery_timeout)
    bounds = Bounds(settings.predict_timeout_seconds, settings.max_concurrent_requests)
    backend, awake, off_loop = make_backend(), AwakeClock(), OffLoop()
    bindings = Bindings(
        registry,
        breakers,
        worker_counters,
        route_maker(backend, worker_counters, settings.regime, time.monotonic),
        registry_sync.catch_up,
    )
    watch_deaths(registry, backend)
    service = Predictor(registry, bindings, admission, settings.predict_timeout_seconds, awake, off_loop)
    metrics = Metrics(registry, table, breakers, bounds)
    keys = None if settings.api_keys_file is None else ApiKeys(settings.api_keys_file, settings.internal_key)
    gate = Gate(keys, _quota(settings, sharing), Audit(), settings.trusted_hops)
    return Components(
        settings, sharing, worker, registry, registry_sync, backend, breakers, metrics, bindings, service, gate, stubs,
        awake, off_loop,
    )  # fmt: skip


def route_maker(
    backend: InferenceBackend, worker_counters: WorkerCounters, regime: RegimeName | None, clock: Callable[[], float]
) -> Callable[[Model], ModelRoute]:
    """Return what makes the route of each model that comes to be served."""

    def make_route(model: Model) -> ModelRoute:
        return ModelRoute(ModelCalls(model.entry, model.codec, backend), worker_counters, regime, clock)

    return make_route


def watch_deaths(registry: Registry, backend: InferenceBackend) -> None:
    """Tell the registry of deaths that the backend learns late, and the backend whose calls nobody waits for."""

    def died(triton_model: str, began: float) -> None:
        for model in registry.models.values():
            if triton_model in model.entry.triton_models and began >= model.since:
                model.mark_dead(model.loads)

    def abandon(entry: ModelEntry) -> None:
        for name in entry.triton_models:
            backend.abandon(name)

    registry.watch_losses(abandon)
    backend.watch_deaths(died)


def _quota(settings: Settings, sharing: SharedState) -> Quota | None:
    # A key may have a quota of its own.
    if settings.max_requests is None and settings.api_keys_file is None:
        return None
    return Quota(settings.max_requests, settings.requests_period_seconds, sharing.clients)
