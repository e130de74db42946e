"""`make bench-overload`: what becomes of the requests that a server has room for when five times as many come.

The load is open: requests leave when they are due, whatever became of those before. A ramp finds what each model can
answer, its peak; then five times that rate comes. One model waits, one keeps a core busy; both take few rows a call, so
that it is they who saturate, and not the programs around them, the client among them. Bounds are the defaults; one case
has a deadline shorter than the queue, so that requests expire in it. Writes overload.md and overload.json; exit code 1
where a bar is missed.
"""

from __future__ import annotations

import math
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from converter.schema.settings import Settings
from tests.bench.rig import models, openloop, sleeping
from tests.bench.rig.openloop import Result
from tests.bench.rig.results import Bar, Results
from tests.support.servers.server import Server, serving, stop_on_sigterm

_TIMES = 5
_FIRST_RATE, _STEP = 300.0, 1.45
# The ramp is over where so many times as many are offered as were ever answered.
_OVER = 1.5
_GOODPUT, _SHED_MS, _LATE_MS = 0.9, 20.0, 100.0
# Queues that are full, and those in which the deadline passed: 503 at once, or 504 on time.
_SHED = ("overloaded", "queue_full")
_EXPIRED = "deadline_exceeded"
_ROOM: int = Settings.model_fields["max_concurrent_requests"].default
# Rows a call: five times what they can answer is little for the programs around them.
_ROWS, _HEAVY_ROWS = 16, 4


@dataclass(frozen=True)
class Case:
    """`timeout_ms` is the clients' own deadline; 0 is the server's."""

    model: str
    endpoint: str
    timeout_ms: int = 0

    @property
    def name(self) -> str:
        own = f", deadline {self.timeout_ms} ms" if self.timeout_ms else ""
        return f"{self.model} {self.endpoint}{own}"


@click.command(help=__doc__)
@click.option("--seconds", default=5.0, show_default=True, help="Of the overload; of a step of the ramp 2 s at most.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(seconds: float, output: Path) -> None:
    stop_on_sigterm()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        folder = Path(name)
        sleep = sleeping.write(folder / "models", 20, _ROWS)
        heavy = models.write_heavy(folder / "models", _HEAVY_ROWS)
        cases = (
            Case(sleep, "predict"),
            Case(sleep, "predict_batched"),
            Case(sleep, "predict_batched", 400),
            Case(heavy, "predict_batched"),
        )
        with serving(folder / "models", folder) as server:
            measured = {case: _measure(server, case, seconds) for case in cases}
    _show(measured, results)
    results.finish(output, "overload")
    sys.exit(0 if results.met else 1)


def _measure(server: Server, case: Case, seconds: float) -> tuple[float, Result]:
    """The peak, in answers a second, and what was seen at five times that."""
    rate, peak = _FIRST_RATE, 0.0
    while True:
        peak = max(peak, _run(server, case, rate, min(2.0, seconds)).goodput)
        if not peak:
            raise SystemExit(f"error: {case.name}: nothing is answered at {rate:.0f} requests a second")
        if rate >= _OVER * peak:
            # The less a machine answers, the longer it takes until there is no room left.
            full = _ROOM / ((_TIMES - 1) * peak)
            return peak, _run(server, case, _TIMES * peak, seconds, openloop.WARM_SECONDS + full)
        rate *= _STEP


def _run(
    server: Server, case: Case, rate: float, seconds: float, warm_seconds: float = openloop.WARM_SECONDS
) -> Result:
    url = f"{server.url}/{case.endpoint}/{case.model}"
    return openloop.run(url, {"features": [models.row()]}, rate, seconds, case.timeout_ms, warm_seconds)


def _show(measured: dict[Case, tuple[float, Result]], results: Results) -> None:
    rows = []
    for case, (peak, at) in measured.items():
        shed = sum(at.counts.get(code, 0) for code in _SHED)
        rows.append([
            case.name, f"{peak:.0f}", f"{at.offered:.0f}", f"{at.goodput:.0f}",
            _milliseconds(at, "ok"), f"{shed / at.seconds:.0f}", _milliseconds(at, "overloaded"),
            f"{at.counts.get(_EXPIRED, 0) / at.seconds:.0f}", _milliseconds(at, _EXPIRED), f"{at.lag_p99:.1f}",
        ])  # fmt: skip
        results.bars += _bars(case, peak, at)
    head = (
        "case", "peak/s", "offered/s", "200/s", "its p50, p99 ms", "503/s", "its p50, p99 ms", "504/s",
        "its p50, p99 ms", "client's own delay, p99 ms",
    )  # fmt: skip
    results.table(f"{_TIMES} times the load that saturates", head, rows)
    results.raw["overload"] = [{**asdict(case), "peak": peak, **asdict(at)} for case, (peak, at) in measured.items()]


def _milliseconds(at: Result, code: str) -> str:
    return f"{at.p50[code]:.1f}, {at.p99[code]:.1f}" if code in at.counts else "–"


def _bars(case: Case, peak: float, at: Result) -> list[Bar]:
    deadline = case.timeout_ms or 1e3 * float(Settings.model_fields["predict_timeout_seconds"].default)
    other = set(at.counts) - {"ok", _EXPIRED, *_SHED}
    bars = [
        Bar(f"{case.name}: answered 200, of the peak", at.goodput / peak, _GOODPUT),
        Bar(f"{case.name}: p99 of 200, ms", at.p99.get("ok", math.inf), deadline + _LATE_MS, False),
        Bar(f"{case.name}: other answers, lost or forgotten", len(other) + at.lost + at.unanswered, 0, False),
        Bar(f"{case.name}: requests that the client could not send", at.unsent, 0, False),
    ]
    bars += [
        Bar(f"{case.name}: p99 of 503 {code}, ms", at.p99[code], _SHED_MS, False) for code in _SHED if code in at.p99
    ]
    if _EXPIRED in at.p99:
        bars.append(Bar(f"{case.name}: p99 of 504, ms", at.p99[_EXPIRED], deadline + _LATE_MS, False))
    return bars


if __name__ == "__main__":
    main()
