"""Prometheus: the names that users' dashboards know, and ours with the prefix `schwift_`.

Made when somebody asks, from the cells of the shared table, so that a request costs a few additions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapter import VERSION
from adapter.error_codes import CODES
from adapter.lifecycle.registry import Registry
from adapter.limits.breaker import STATES
from adapter.limits.breakers import Breakers
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.settings import REGIMES, RegimeName

_LABELS = ("model_name", "endpoint")
_SERVER_FAULT = 500
_LATENCY_SECONDS = tuple(bound / 1e3 for bound in counters.LATENCY_MS)


@dataclass(frozen=True)
class Bounds:
    """What is allowed of all requests, shown beside what there is."""

    deadline_seconds: float
    in_flight: int


class Metrics(Collector):
    """Make the metrics of all workers from the shared table, when they are asked for.

    Requests for a model that does not exist are counted under no label of the client's choosing.
    """

    def __init__(self, registry: Registry, table: SharedTable, breakers: Breakers, bounds: Bounds) -> None:
        self._models = registry
        self._table = table
        self._breakers = breakers
        self._bounds = bounds
        self._prometheus = CollectorRegistry()
        self._prometheus.register(self)

    def render(self) -> bytes:
        """Return all metrics as Prometheus text."""
        return generate_latest(self._prometheus)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: no metric is made before somebody asks for it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Make each metric with what it is now."""
        yield from self._requests()
        yield from self._times()
        yield from self._gauges()
        yield from self._breaker_states()
        yield from self._limits()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "inference_requests", "Requests, refused and failed ones included.", labels=_LABELS
        )
        failures = CounterMetricFamily("inference_errors", "Requests not answered with 200.", labels=_LABELS)
        latency = HistogramMetricFamily(
            "inference_latency_ms",
            "Time from the whole body to the answer, in milliseconds, of requests answered with 200.",
            labels=_LABELS,
        )
        rows = HistogramMetricFamily("inference_batch_size", "Rows of a request.", labels=_LABELS)
        responses = CounterMetricFamily(
            "schwift_responses", "Requests by status and code.", labels=(*_LABELS, "status", "code")
        )
        for name, model in self._models.models.items():
            for endpoint in model.entry.spec.endpoints:
                labels = (name, endpoint)
                cells = counters.totals(self._table, name, endpoint)
                by_code = cells[: len(CODES)]
                answered = by_code[0]
                requests.add_metric(labels, sum(by_code))
                failures.add_metric(labels, sum(by_code) - answered)
                latency.add_metric(
                    labels, *_histogram(cells, counters.LATENCY_MS, counters.LATENCY_AT, counters.LATENCY_SUM)
                )
                rows.add_metric(labels, *_histogram(cells, counters.ROWS, counters.ROWS_AT, counters.ROWS_SUM))
                for (status, code), count in zip(CODES, by_code, strict=True):
                    # A counter that is there before the first fault: the first one counts in a rate too.
                    if count or status >= _SERVER_FAULT:
                        responses.add_metric((*labels, str(status), code), count)
        yield from (requests, failures, latency, rows, responses)

    def _times(self) -> Iterator[Metric]:
        queue = CounterMetricFamily(
            "schwift_queue_seconds", "Time that answered requests waited in the adapter for a call.", labels=_LABELS
        )
        model = CounterMetricFamily(
            "schwift_model_seconds", "Time that answered requests were in calls of Triton.", labels=_LABELS
        )
        calls = HistogramMetricFamily(
            "schwift_call_seconds",
            "Time of an answered call of Triton: of the model itself (direct), or through its front.",
            labels=("model_name", "way"),
        )
        for name, served in self._models.models.items():
            for endpoint in served.entry.spec.endpoints:
                cells = counters.totals(self._table, name, endpoint)
                queue.add_metric((name, endpoint), cells[counters.QUEUE_SUM])
                model.add_metric((name, endpoint), cells[counters.MODEL_SUM])
            for way in counters.WAYS:
                if way == "direct" or served.entry.front is not None:
                    cells = counters.call_times(self._table, name, way)
                    buckets, total = _histogram(cells, _LATENCY_SECONDS, 0, counters.CALL_MS_SUM)
                    calls.add_metric((name, way), buckets, total / 1e3)
        yield from (queue, model, calls)

    def _limits(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("schwift_build_info", "1, with the version as a label.", labels=("version",))
        build.add_metric((VERSION,), 1)
        yield build
        queue = GaugeMetricFamily(
            "schwift_queue_limit", "Most requests that wait in the adapter for a call.", labels=("model_name",)
        )
        for name, model in self._models.models.items():
            queue.add_metric((name,), model.entry.queue_size)
        yield queue
        deadline, in_flight = self._bounds.deadline_seconds, self._bounds.in_flight
        yield GaugeMetricFamily("schwift_deadline_seconds", "The deadline of a request.", deadline)
        yield GaugeMetricFamily("schwift_in_flight_limit", "Most requests in flight.", in_flight)

    def _gauges(self) -> Iterator[Metric]:
        table = self._table
        in_flight = counters.total(table, counters.ALL, counters.IN_FLIGHT)
        yield GaugeMetricFamily("schwift_in_flight", "Requests in flight, all models together.", in_flight)
        lost = counters.total(table, counters.ALL, counters.LINES_LOST)
        yield CounterMetricFamily("schwift_log_lines_lost", "Log lines that could not be written.", lost)
        yield GaugeMetricFamily("schwift_triton_up", "1 while Triton answers.", float(self._models.triton_up))
        ready = GaugeMetricFamily("schwift_model_ready", "1 while a model is served.", labels=("model_name",))
        queued = GaugeMetricFamily(
            "schwift_queued", "Requests that wait in the adapter for a call.", labels=("model_name",)
        )
        regime = GaugeMetricFamily(
            "schwift_regime", "1 for the regime that a model is in.", labels=("model_name", "regime")
        )
        changes = CounterMetricFamily("schwift_regime_changes", "Changes of regime.", labels=("model_name",))
        calls = CounterMetricFamily(
            "schwift_calls", "Answered calls of the model itself, joined ones as one.", labels=("model_name",)
        )
        rows = CounterMetricFamily("schwift_call_rows", "Rows in these calls.", labels=("model_name",))
        for name, model in self._models.models.items():
            ready.add_metric((name,), float(model.ready))
            queued.add_metric((name,), counters.total(table, name, counters.QUEUED))
            now = regime_of(table, name)
            for word in REGIMES:
                regime.add_metric((name, word), float(word == now))
            changes.add_metric((name,), counters.total(table, name, counters.REGIME_CHANGES))
            calls.add_metric((name,), counters.total(table, name, counters.CALLS))
            rows.add_metric((name,), counters.total(table, name, counters.CALL_ROWS))
        yield from (ready, queued, regime, changes, calls, rows)
        yield from self._recoveries()

    def _recoveries(self) -> Iterator[Metric]:
        table = self._table
        recoveries = CounterMetricFamily(
            "schwift_model_recoveries",
            "Times that a model was loaded again because it died, hung, or held more memory than it may.",
            labels=("model_name", "reason"),
        )
        stuck = CounterMetricFamily(
            "schwift_stuck_processes",
            "Processes of a model that hung and could not be ended from here.",
            labels=("model_name",),
        )
        memory = GaugeMetricFamily(
            "schwift_model_memory_bytes",
            "What the processes of a model hold, shared pages by their part; where Triton runs on this machine.",
            labels=("model_name",),
        )
        for name in self._models.models:
            for i, reason in enumerate(counters.RECOVERY_REASONS):
                recoveries.add_metric((name, reason), counters.total(table, name, counters.RECOVERIES + i))
            stuck.add_metric((name,), counters.total(table, name, counters.STUCK))
            if size := counters.highest(table, name, counters.MEMORY):
                memory.add_metric((name,), size)
        yield from (recoveries, stuck, memory)

    def _breaker_states(self) -> Iterator[Metric]:
        """Make the metrics of breakers; Triton's own has no model's name."""
        state = GaugeMetricFamily(
            "schwift_breaker_state", "1 for the state that a circuit breaker is in.", labels=("model_name", "state")
        )
        opened = CounterMetricFamily(
            "schwift_breaker_opened", "How often a circuit breaker opened.", labels=("model_name",)
        )
        of_models = {name: self._breakers[name].model for name in self._models.models}
        for name, breaker in {counters.ALL: self._breakers.triton, **of_models}.items():
            for word in STATES:
                state.add_metric((name, word), float(word == breaker.state))
            opened.add_metric((name,), breaker.opened)
        yield from (state, opened)


def regime_of(table: SharedTable, name: str) -> RegimeName:
    """Return a model's regime; if those of several workers differ, the one with the most load."""
    return REGIMES[int(counters.highest(table, name, counters.REGIME))]


def _histogram(
    cells: Sequence[float], bounds: Sequence[float], at: int, sum_at: int
) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets as Prometheus has them, and the sum."""
    counts = accumulate(cells[at : at + len(bounds) + 1])
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, counts, strict=True)), cells[sum_at]
