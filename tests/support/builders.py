"""Objects as wiring.py makes them, of one worker that shares them with none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from adapter.lifecycle.registry import Registry
from adapter.limits.breaker import LEAST_CALLS, WIDTH, Breaker, BreakerCells
from adapter.limits.breakers import Breakers
from adapter.limits.rate_limit import Clients, Quota
from adapter.telemetry.metrics import Metrics
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable


def make_breaker_cells(names: Sequence[str], workers: int = 1) -> BreakerCells:
    """Cells in a table of their own."""
    return BreakerCells(SharedTable(names, WIDTH, workers), 0)


def make_breakers(models: Sequence[str], clock: Callable[[], float] = time.monotonic) -> Breakers:
    return Breakers(make_breaker_cells([counters.ALL, *models]), 0, 30, clock)


def force_open(breaker: Breaker, now: float) -> None:
    """Let as many calls fail as open a breaker that is closed."""
    for _ in range(LEAST_CALLS):
        breaker.failed(now)
    assert not breaker.closed


def make_quota(requests: int | None, period: float, clock: Callable[[], float] = time.monotonic) -> Quota:
    return Quota(requests, period, Clients(shared=True), clock)


def make_metrics(registry: Registry, table: SharedTable, deadline: float = 15, in_flight: int = 1024) -> Metrics:
    return Metrics(registry, table, make_breakers(list(registry.models)), deadline, in_flight)
