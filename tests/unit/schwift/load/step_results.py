"""Results as if they had been measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from schwift.load.bench_document import BenchDocument
from schwift.load.latency_histogram import LatencyHistogram
from schwift.load.step_result import PERCENTILES, StepResult


def make_result(connections: int = 16, rates: Sequence[float] = (100.0,) * 10, **values: Any) -> StepResult:
    """A second a rate, of which each answer took 1 to 2 ms."""
    count = int(sum(rates))
    latencies = LatencyHistogram(np.linspace(0.001, 0.002, max(1, count)))
    result = StepResult(
        model="flowers",
        endpoint="predict",
        rows=2,
        connections=connections,
        rate=None,
        poisson=False,
        seconds=float(len(rates)),
        offered=count / len(rates),
        throughput=count / len(rates),
        latency_ms={name: latencies.percentile(percent) * 1e3 for name, percent in PERCENTILES.items()},
        outcomes={"200": count},
        differing=0,
        bytes_sent=1,
        bytes_received=2,
        client_cpu=0.2,
        client_lag_ms=dict.fromkeys(PERCENTILES, 0.0),
        per_second=[
            {"seconds": 1.0, "good": rate, "failed": 0, "p50_ms": 1.5 + i / 1000, "p99_ms": 2.0}
            for i, rate in enumerate(rates)
        ],
        histograms={"200": latencies.to_json()},
    )
    return replace(result, **values)


def make_document(*results: StepResult, **options: Any) -> BenchDocument:
    about = {
        "form": "schwift bench 1",
        "at": "2030-01-01T00:00:00+00:00",
        "url": "http://localhost:8005",
        "schwift": "0.1.0",
        "options": options,
        "machine": {"cores": 2},
    }
    return BenchDocument(about, list(results))
