"""Prometheus: the names that users' dashboards know, and ours with the prefix `schwift_`.

Made when somebody asks, from the cells of the shared table, so that a request costs a few additions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapter import VERSION
from adapter.error_codes import CODES
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.breaker import STATES
from adapter.limits.breakers import Breakers
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.settings import REGIMES, RegimeName

_LABELS = ("model_name", "endpoint")
_Kind = type[CounterMetricFamily] | type[GaugeMetricFamily]
_SERVER_FAULT = 500
_LATENCY_SECONDS = tuple(bound / 1e3 for bound in counters.LATENCY_MS)
# What is one cell of each model, added up over the workers.
_CELLS: tuple[tuple[_Kind, str, str, int], ...] = (
    (GaugeMetricFamily, "schwift_queued", "Requests that wait in the adapter for a call.", counters.QUEUED),
    (CounterMetricFamily, "schwift_regime_changes", "Changes of regime.", counters.REGIME_CHANGES),
    (CounterMetricFamily, "schwift_calls", "Answered calls of the model itself, joined ones as one.", counters.CALLS),
    (CounterMetricFamily, "schwift_call_rows", "Rows in these calls.", counters.CALL_ROWS),
    (
        CounterMetricFamily,
        "schwift_stuck_processes",
        "Processes of a model that hung and could not be ended from here.",
        counters.STUCK,
    ),
)


class Metrics(Collector):
    """Make the metrics of all workers from the shared table, when they are asked for.

    Requests for a model that does not exist are counted under no label of the client's choosing. `deadline` in seconds
    and `in_flight` are what is allowed of all requests, shown beside what there is.
    """

    def __init__(
        self, registry: Registry, table: SharedTable, breakers: Breakers, deadline: float, in_flight: int
    ) -> None:
        self._models = registry
        self._table = table
        self._breakers = breakers
        self._deadline = deadline
        self._most_in_flight = in_flight
        self._prometheus = CollectorRegistry()
        self._prometheus.register(self)

    def render(self) -> bytes:
        """Return all metrics as Prometheus text."""
        return generate_latest(self._prometheus)

    def regime_of(self, name: str) -> RegimeName:
        """Return a model's regime; if those of several workers differ, the one with the most load."""
        return REGIMES[int(counters.highest(self._table, name, counters.REGIME))]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: no metric is made before somebody asks for it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Make each metric with what it is now."""
        yield from self._requests()
        yield self._call_seconds()
        yield from self._server()
        yield from self._by_model()
        yield from self._breaker_states()

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
        queue = CounterMetricFamily(
            "schwift_queue_seconds", "Time that answered requests waited in the adapter for a call.", labels=_LABELS
        )
        calls = CounterMetricFamily(
            "schwift_model_seconds", "Time that answered requests were in calls of Triton.", labels=_LABELS
        )
        for name, model in self._models.models.items():
            for endpoint in model.entry.spec.endpoints:
                labels = (name, endpoint)
                cells = counters.totals(self._table, name, endpoint)
                by_code = cells[: len(CODES)]
                requests.add_metric(labels, sum(by_code))
                failures.add_metric(labels, sum(by_code[1:]))
                queue.add_metric(labels, cells[counters.QUEUE_SUM])
                calls.add_metric(labels, cells[counters.MODEL_SUM])
                latency.add_metric(
                    labels, *_histogram(cells, counters.LATENCY_MS, counters.LATENCY_AT, counters.LATENCY_SUM)
                )
                rows.add_metric(labels, *_histogram(cells, counters.ROWS, counters.ROWS_AT, counters.ROWS_SUM))
                for (status, code), count in zip(CODES, by_code, strict=True):
                    # A counter that is there before the first fault: the first one counts in a rate too.
                    if count or status >= _SERVER_FAULT:
                        responses.add_metric((*labels, str(status), code), count)
        yield from (requests, failures, latency, rows, responses, queue, calls)

    def _call_seconds(self) -> Metric:
        calls = HistogramMetricFamily(
            "schwift_call_seconds",
            "Time of an answered call of Triton: of the model itself (direct), or through its front.",
            labels=("model_name", "way"),
        )
        for name, model in self._models.models.items():
            for way in counters.WAYS:
                if way == "direct" or model.entry.front is not None:
                    cells = counters.call_times(self._table, name, way)
                    buckets, total = _histogram(cells, _LATENCY_SECONDS, 0, counters.CALL_MS_SUM)
                    calls.add_metric((name, way), buckets, total / 1e3)
        return calls

    def _server(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("schwift_build_info", "1, with the version as a label.", labels=("version",))
        build.add_metric((VERSION,), 1)
        yield build
        yield GaugeMetricFamily("schwift_deadline_seconds", "The deadline of a request.", self._deadline)
        yield GaugeMetricFamily("schwift_in_flight_limit", "Most requests in flight.", self._most_in_flight)
        in_flight = counters.total(self._table, counters.ALL, counters.IN_FLIGHT)
        yield GaugeMetricFamily("schwift_in_flight", "Requests in flight, all models together.", in_flight)
        lost = counters.total(self._table, counters.ALL, counters.LINES_LOST)
        yield CounterMetricFamily("schwift_log_lines_lost", "Log lines that could not be written.", lost)
        yield GaugeMetricFamily("schwift_triton_up", "1 while Triton answers.", float(self._models.triton_up))

    def _by_model(self) -> Iterator[Metric]:
        yield self._each("schwift_model_ready", "1 while a model is served.", lambda model: float(model.ready))
        yield self._each(
            "schwift_queue_limit",
            "Most requests that wait in the adapter for a call.",
            lambda model: model.entry.queue_size,
        )
        yield self._each(
            "schwift_model_memory_bytes",
            "What the processes of a model hold, shared pages by their part; where Triton runs on this machine.",
            # Unknown if it is 0.
            lambda model: counters.highest(self._table, model.entry.name, counters.MEMORY) or None,
        )
        for kind, metric, text, cell in _CELLS:
            family = kind(metric, text, labels=("model_name",))
            for name in self._models.models:
                family.add_metric((name,), counters.total(self._table, name, cell))
            yield family
        regime = GaugeMetricFamily(
            "schwift_regime", "1 for the regime that a model is in.", labels=("model_name", "regime")
        )
        recoveries = CounterMetricFamily(
            "schwift_model_recoveries",
            "Times that a model was loaded again because it died, hung, or held more memory than it may.",
            labels=("model_name", "reason"),
        )
        for name in self._models.models:
            now = self.regime_of(name)
            for word in REGIMES:
                regime.add_metric((name, word), float(word == now))
            for i, reason in enumerate(counters.RECOVERY_REASONS):
                recoveries.add_metric((name, reason), counters.total(self._table, name, counters.RECOVERIES + i))
        yield from (regime, recoveries)

    def _each(self, name: str, text: str, value: Callable[[Model], float | None]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("model_name",))
        for model_name, model in self._models.models.items():
            if (shown := value(model)) is not None:
                family.add_metric((model_name,), shown)
        return family

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


def _histogram(
    cells: Sequence[float], bounds: Sequence[float], at: int, sum_at: int
) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets as Prometheus has them, and the sum."""
    counts = accumulate(cells[at : at + len(bounds) + 1])
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, counts, strict=True)), cells[sum_at]
