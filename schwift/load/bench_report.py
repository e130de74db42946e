"""What `schwift bench` prints: a table row for each step, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from converter.table import format_table
from schwift.load.step_result import KEEPS_UP, PERCENTILES, StepResult, find_knee, list_failures

_BUSY_CLIENT = 0.9
# More than this, and the client is part of what was measured.
_LATE_MS = 1.0
_CLOSED = (
    "Closed loop: latency as each connection saw it, which sends a request once the one before is answered; a server "
    "that stalls is asked less meanwhile. For users who come whatever became of others: --rate."
)
_OPEN = "Open loop: latency from when a request was due, whether it could leave then or not."


def format_results(results: Sequence[StepResult], most_p99_ms: float | None) -> str:
    """Format all steps, those of a model together, with the knee of each ramp."""
    is_open = any(result.rate is not None for result in results)
    head = ["MODEL", "REQUESTS/S" if is_open else "CONNECTIONS", "ANSWERS/S", "ROWS/S"]
    head += [f"{name.upper()} MS" for name in PERCENTILES] + ["ERRORS"]
    lines = [format_table(head, [_make_row(result) for result in results]), ""]
    for result in results:
        lines += _remarks(result)
    for _, group in groupby(results, key=lambda result: (result.model, result.endpoint)):
        steps = list(group)
        if len(steps) > 1:
            lines.append(_say_knee(steps, most_p99_ms))
        elif most_p99_ms is not None and (failures := list_failures(steps[0], most_p99_ms)):
            lines.append(f"{steps[0].model}, {steps[0].label}: not within its bounds: {', '.join(failures)}")
    lines.append(_OPEN if is_open else _CLOSED)
    return "\n".join(lines)


def _make_row(result: StepResult) -> list[str]:
    rows = f"{result.throughput * result.rows:,.0f}" if result.rows else "-"
    asked = str(result.connections) if result.rate is None else f"{result.rate:,g}"
    times = [_format_ms(result.latency_ms[name]) for name in PERCENTILES]
    return [result.model, asked, f"{result.throughput:,.0f}", rows, *times, f"{result.errors:,}"]


def _format_ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:,.1f}"


def _remarks(result: StepResult) -> list[str]:
    place = f"{result.model}, {result.label}"
    remarks = []
    if result.errors:
        counts = ", ".join(f"{name} x {count:,}" for name, count in result.outcomes.items())
        remarks.append(f"{place}: {counts}")
    if result.differing:
        remarks.append(f"{place}: {result.differing:,} answers differ from the first one to the same request")
    if not result.answered:
        remarks.append(f"{place}: nothing was answered; rows that the model takes can be given by --data")
    if result.client_cpu > _BUSY_CLIENT:
        remarks.append(f"{place}: this client took {result.client_cpu:.0%} of a core, and may be what was measured")
    elif result.client_lag_ms["p99"] > _LATE_MS and result.throughput >= KEEPS_UP * result.offered:
        # Where the server keeps up: else they waited for a connection.
        late = _format_ms(result.client_lag_ms["p99"])
        remarks.append(f"{place}: requests left late, p99 {late} ms, which is in their latencies")
    return remarks


def _say_knee(steps: Sequence[StepResult], most_p99_ms: float | None) -> str:
    bound = "without errors" if most_p99_ms is None else f"without errors and with p99 up to {most_p99_ms:g} ms"
    if steps[0].rate is not None:
        bound += ", as fast as they came"
    knee, most = find_knee(steps, most_p99_ms), max(steps, key=lambda step: step.throughput)
    top = f"most answers at {most.label}: {most.throughput:,.0f}/s"
    if knee is None:
        return f"{steps[0].model}: no step was answered {bound}; {top}"
    late = _format_ms(knee.latency_ms["p99"])
    where = f"{knee.label}: {knee.throughput:,.0f} answers/s, p99 {late} ms"
    if knee is steps[-1]:
        return f"{knee.model}: all steps were answered {bound}, the last with {where}; {top}"
    return f"{knee.model}: the knee is at {where}, the last step {bound}; {top}"
