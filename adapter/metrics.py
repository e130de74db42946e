"""Prometheus: the names that users' dashboards know, and ours with the prefix `schwift_`."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from adapter.admission import Admission
from adapter.registry import Model, Registry

_LABELS = ("model_name", "endpoint")
_LATENCY_MS = (1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 200, 500, 1000, 2000, 5000, 15000)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Requests for a model that does not exist are counted under no label of the client's choosing."""

    def __init__(self, models: Registry, admission: Admission) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "inference_requests",
            "Requests, refused and failed ones included.",
            _LABELS,
            registry=self._registry,
        )
        self._errors = Counter("inference_errors", "Requests not answered with 200.", _LABELS, registry=self._registry)
        self._latency = Histogram(
            "inference_latency_ms",
            "Time from the whole body to the answer, in milliseconds, of requests answered with 200.",
            _LABELS,
            buckets=_LATENCY_MS,
            registry=self._registry,
        )
        self._rows = Histogram(
            "inference_batch_size", "Rows of a request.", _LABELS, buckets=_ROWS, registry=self._registry
        )
        self._responses = Counter(
            "schwift_responses",
            "Requests by status and code.",
            (*_LABELS, "status", "code"),
            registry=self._registry,
        )
        in_flight = Gauge("schwift_in_flight", "Requests in flight, all models together.", registry=self._registry)
        in_flight.set_function(lambda: admission.in_flight)
        up = Gauge("schwift_triton_up", "1 while Triton answers.", registry=self._registry)
        up.set_function(lambda: float(models.triton_up))
        ready = Gauge("schwift_model_ready", "1 while a model is served.", ("model_name",), registry=self._registry)
        for name, model in models.models.items():
            ready.labels(name).set_function(partial(_as_gauge, model))
            for endpoint in model.entry.spec.endpoints:
                # At 0 from the start, so that a first error is an increase.
                self._requests.labels(name, endpoint)
                self._errors.labels(name, endpoint)

    def answered(self, model: str, endpoint: str, seconds: float, rows: int) -> None:
        self._count(model, endpoint, 200, "ok")
        self._latency.labels(model, endpoint).observe(seconds * 1e3)
        self._rows.labels(model, endpoint).observe(rows)

    def failed(self, model: str, endpoint: str, status: int, code: str) -> None:
        self._count(model, endpoint, status, code)
        self._errors.labels(model, endpoint).inc()

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def _count(self, model: str, endpoint: str, status: int, code: str) -> None:
        self._requests.labels(model, endpoint).inc()
        self._responses.labels(model, endpoint, str(status), code).inc()


def _as_gauge(model: Model) -> float:
    return float(model.ready)
