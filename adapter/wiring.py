"""One object of each kind that a request meets, made before the event loop serves and as old as the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapter.backend.protocol import InferenceBackend
from adapter.codec.off_loop import OffLoop
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.registry_sync import News
from adapter.lifecycle.stub_processes import Stubs
from adapter.limits.admission import Admission
from adapter.limits.api_keys import ApiKeys
from adapter.limits.breakers import Guards
from adapter.limits.rate_limit import Quota
from adapter.predictor import PredictService
from adapter.sharing import Sharing
from adapter.telemetry.audit import Audit
from adapter.telemetry.metrics import Bounds, Metrics
from adapter.workers import counters
from converter.schema.manifest import Manifest
from converter.schema.settings import Settings


@dataclass(frozen=True)
class Parts:
    """`worker` is this process's number among those that share `sharing`; `stubs` where Triton runs beside it."""

    settings: Settings
    sharing: Sharing
    worker: int
    registry: Registry
    news: News
    backend: InferenceBackend
    guards: Guards
    metrics: Metrics
    service: PredictService
    quota: Quota | None
    keys: ApiKeys | None
    audit: Audit
    stubs: Stubs | None
    awake: AwakeClock
    off_loop: OffLoop


def make_parts(
    settings: Settings,
    manifest: Manifest,
    make_backend: Callable[[], InferenceBackend],
    sharing: Sharing | None,
    worker: int,
) -> Parts:
    names = [entry.name for entry in manifest.models]
    sharing = sharing or Sharing(names)
    board = sharing.board
    counters.begin(board, names, worker)
    stubs = Stubs(settings.triton_grpc) if settings.embedded else None
    registry = Registry(manifest, board, worker) if stubs is None else Registry(manifest, board, worker, stubs.whole)
    news = News(registry, sharing.bulletin)
    admission = Admission(
        settings.max_concurrent_requests, counters.Gauge(board, counters.ALL, worker, counters.IN_FLIGHT)
    )
    guards = Guards(sharing.breakers, worker, settings.circuit_breaker_recovery_timeout)
    bounds = Bounds(settings.predict_timeout_seconds, settings.max_concurrent_requests)
    backend, awake, off_loop = make_backend(), AwakeClock(), OffLoop()
    service = PredictService(
        registry, backend, board, worker, admission, guards, settings.predict_timeout_seconds, settings.regime,
        catch_up=news.follow, slept_since=awake.slept_since, off_loop=off_loop,
    )  # fmt: skip
    metrics = Metrics(registry, board, guards, bounds)
    quota = _quota(settings, sharing)
    keys = None if settings.api_keys_file is None else ApiKeys(settings.api_keys_file, settings.internal_key)
    return Parts(
        settings, sharing, worker, registry, news, backend, guards, metrics, service, quota, keys, Audit(), stubs,
        awake, off_loop,
    )  # fmt: skip


def _quota(settings: Settings, sharing: Sharing) -> Quota | None:
    # A key may have a quota of its own.
    if settings.max_requests is None and settings.api_keys_file is None:
        return None
    return Quota(settings.max_requests, settings.requests_period_seconds, sharing.clients)
