"""What one step of a measurement comes to, as it is printed, kept in JSON, drawn and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schwift.load.load_generator import LoadGenerator, LoadStep
from schwift.load.load_record import is_good
from schwift.load.served_examples import BenchModel

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
# Who answers a little less than it is asked keeps up: the window cuts off some at both its ends.
KEEPS_UP = 0.95


@dataclass(frozen=True)
class StepResult:
    """One step. Rates are a second's, `seconds` the window that was measured, `latency_ms` as in PERCENTILES.

    Latencies are of good answers and of requests that waited in vain; `histograms` has each outcome's own.
    `client_cpu` is the share of a core that this program took, `client_lag_ms` how late it sent what was due.
    """

    model: str
    endpoint: str
    rows: int
    connections: int
    rate: float | None
    poisson: bool
    seconds: float
    offered: float
    throughput: float
    latency_ms: dict[str, float]
    outcomes: dict[str, int]
    differing: int
    bytes_sent: int
    bytes_received: int
    client_cpu: float
    client_lag_ms: dict[str, float]
    per_second: list[dict[str, float]]
    histograms: dict[str, Any]

    @property
    def label(self) -> str:
        """Name the step among the others of its model."""
        return LoadStep(self.connections, self.rate).label

    @property
    def errors(self) -> int:
        """Count the requests without a good answer."""
        return sum(count for outcome, count in self.outcomes.items() if not is_good(outcome))

    @property
    def answered(self) -> int:
        """Count the requests with a good answer."""
        return sum(self.outcomes.values()) - self.errors

    @property
    def is_clean(self) -> bool:
        """Whether each request was answered, and each answer was right as far as it was compared."""
        return self.answered > 0 and self.errors == 0 and self.differing == 0


def summarise(model: BenchModel, step: LoadStep, load: LoadGenerator) -> StepResult:
    """Return what a step that has run came to."""
    record = load.record
    latencies = record.latencies()
    counts = record.counts()
    return StepResult(
        model=model.name,
        endpoint=model.endpoint,
        rows=model.rows,
        connections=step.connections,
        rate=step.rate,
        poisson=step.poisson,
        seconds=record.length,
        offered=sum(counts.values()) / record.length if record.length > 0 else 0.0,
        throughput=record.throughput,
        latency_ms={name: latencies.percentile(percent) * 1e3 for name, percent in PERCENTILES.items()},
        outcomes=counts,
        differing=record.differing,
        bytes_sent=record.bytes_sent,
        bytes_received=record.bytes_received,
        client_cpu=load.cpu_share,
        client_lag_ms={name: record.lags.percentile(percent) * 1e3 for name, percent in PERCENTILES.items()},
        per_second=record.seconds_to_json(),
        histograms={name: histogram.to_json() for name, histogram in sorted(record.outcomes.items())},
    )


def list_failures(result: StepResult, most_p99_ms: float | None) -> list[str]:
    """Name what keeps a step from being answered whole, as fast as requests were due, and within the bound if any."""
    failures = []
    if not result.answered:
        failures.append("no good answers")
    elif result.errors:
        failures.append(f"{result.errors:,} requests without a good answer")
    if result.differing:
        failures.append(f"{result.differing:,} answers that differ")
    # At random, fewer may have been due than were asked for.
    if result.rate is not None and result.throughput < KEEPS_UP * (due := min(result.rate, result.offered)):
        failures.append(f"{result.throughput:,.0f} answers/s where {due:,.0f} were due")
    if most_p99_ms is not None and (p99 := result.latency_ms["p99"]) > most_p99_ms:
        failures.append(f"p99 {p99:,.2f} ms is over {most_p99_ms:g} ms")
    return failures


def find_knee(results: Sequence[StepResult], most_p99_ms: float | None) -> StepResult | None:
    """Return the last step of a ramp before the first that does not keep within its bounds; None if none does."""
    knee = None
    for result in results:
        if list_failures(result, most_p99_ms):
            break
        knee = result
    return knee
