"""Our adapter beside Triton's own HTTP JSON and a naive adapter, on the same Triton, in turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.bench.rig import models, systems, wrk
from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.servers.server import Server

CONNECTIONS = (1, 16, 64, 256)
_MANY_ROWS, _MANY_CONNECTIONS = 256, 4
# Ratios of requests a second: ours to Triton's own.
_RATIOS = {1: 0.6, 16: 0.85, 64: 1.3, 256: 1.1}
_HELD = (models.LOGREG, models.MLP)
OURS, TRITON, NAIVE, ALONE = "adapter", "Triton's own", "naive adapter", "in-process"

# system → the results of each round
Cell = Mapping[str, list[wrk.Result]]


def measure(server: Server, seconds: float, rounds: int, results: Results) -> None:
    with systems.naive(server) as naive, systems.in_process(server) as alone:
        cells = _one_row(server, naive, seconds, rounds)
        many = _many_rows(server, alone, seconds, rounds)
    _show_one_row(cells, results)
    _show_many_rows(many, results)
    results.bars += _bars(cells, many)
    results.bars += _idle(server, seconds, rounds, results)
    results.raw["front_ends"] = [
        {"model": model, "connections": connections, "system": system, "rounds": [vars(run) for run in runs]}
        for (model, connections), cell in {**cells, **many}.items()
        for system, runs in cell.items()
    ]


def _one_row(server: Server, naive: str, seconds: float, rounds: int) -> dict[tuple[str, int], Cell]:
    cells: dict[tuple[str, int], Cell] = {}
    body = {"features": [models.row()]}
    for model in models.NAMES:
        targets: dict[str, tuple[str, Any]] = {
            OURS: (f"{server.url}/predict/{model}", body),
            TRITON: (f"http://{server.triton_http}/v2/models/{model}_direct/infer", models.triton_request(model)),
            NAIVE: (f"{naive}/predict/{model}", body),
        }
        for connections in CONNECTIONS:
            cells[model, connections] = _in_turns(targets, connections, seconds, rounds)
    return cells


def _many_rows(server: Server, alone: str, seconds: float, rounds: int) -> dict[tuple[str, int], Cell]:
    body = {"features": [models.row()] * _MANY_ROWS}
    return {
        (model, _MANY_CONNECTIONS): _in_turns(
            {OURS: (f"{server.url}/predict/{model}", body), ALONE: (f"{alone}/predict/{model}", body)},
            _MANY_CONNECTIONS,
            seconds,
            rounds,
        )
        for model in models.NAMES
    }


def _in_turns(targets: Mapping[str, tuple[str, Any]], connections: int, seconds: float, rounds: int) -> Cell:
    """One after the other in each round, so that what else the machine does meets all of them."""
    runs: dict[str, list[wrk.Result]] = defaultdict(list)
    for url, body in targets.values():
        wrk.run(url, body, connections, 1)
    for _ in range(rounds):
        for system, (url, body) in targets.items():
            result = wrk.run(url, body, connections, seconds)
            if result.refused or result.broken:
                raise SystemExit(f"error: {url} at {connections}: {result}")
            runs[system].append(result)
    return runs


def ratio(cell: Cell, system: str, to: str, what: str = "per_second") -> float:
    """The median of the rounds' ratios."""
    pairs = zip(cell[system], cell[to], strict=True)
    return median([getattr(one, what) / getattr(other, what) for one, other in pairs])


def _show_one_row(cells: Mapping[tuple[str, int], Cell], results: Results) -> None:
    head = ("model", "connections", "adapter req/s", "Triton's own", "naive", "noise", "adapter p50 / p99 ms",
            "Triton's p50 / p99", "adapter / Triton", "adapter / naive")  # fmt: skip
    rows = []
    for (model, connections), cell in cells.items():
        rate = {system: median([run.per_second for run in runs]) for system, runs in cell.items()}
        spread = max(noise([run.per_second for run in runs]) for runs in cell.values())
        rows.append(
            [model, str(connections), *(f"{rate[system]:.0f}" for system in (OURS, TRITON, NAIVE)), f"{spread:.0%}",
             latency(cell[OURS]), latency(cell[TRITON]),
             f"{ratio(cell, OURS, TRITON):.2f}", f"{ratio(cell, OURS, NAIVE):.1f}"]
        )  # fmt: skip
    results.table("One row a request", head, rows)


def latency(runs: list[wrk.Result]) -> str:
    return f"{median([run.p50 for run in runs]):.1f} / {median([run.p99 for run in runs]):.1f}"


def _show_many_rows(cells: Mapping[tuple[str, int], Cell], results: Results) -> None:
    rows = []
    for (model, _), cell in cells.items():
        rates = [median([run.per_second for run in cell[system]]) * _MANY_ROWS for system in (OURS, ALONE)]
        spread = max(noise([run.per_second for run in runs]) for runs in cell.values())
        rows.append([model, *(f"{rate:.0f}" for rate in rates), f"{spread:.0%}", f"{ratio(cell, OURS, ALONE):.2f}"])
    title = f"{_MANY_ROWS} rows a request, {_MANY_CONNECTIONS} connections"
    results.table(title, ("model", "adapter rows/s", "in-process rows/s", "noise", "adapter / in-process"), rows)


def _bars(cells: Mapping[tuple[str, int], Cell], many: Mapping[tuple[str, int], Cell]) -> list[Bar]:
    bars = []
    for model in _HELD:
        for connections, bar in _RATIOS.items():
            value = ratio(cells[model, connections], OURS, TRITON)
            bars.append(Bar(f"{model}: adapter / Triton's own req/s at {connections}", value, bar))
        cell = cells[model, 64]
        bars.append(Bar(f"{model}: adapter / naive req/s at 64", ratio(cell, OURS, NAIVE), 6))
        bars.append(Bar(f"{model}: adapter / Triton's own p99 at 64", ratio(cell, OURS, TRITON, "p99"), 2, False))
        value = ratio(many[model, _MANY_CONNECTIONS], OURS, ALONE)
        bars.append(Bar(f"{model}: rows/s, adapter / in-process, {_MANY_ROWS} rows a request", value, 0.8))
    return bars


def _idle(server: Server, seconds: float, rounds: int, results: Results) -> list[Bar]:
    """One client on an idle server, on both endpoints."""
    body = {"features": [models.row()]}
    rows, bars = [], []
    for model in _HELD:
        targets = {endpoint: (f"{server.url}/{endpoint}/{model}", body) for endpoint in ("predict", "predict_batched")}
        for endpoint, runs in _in_turns(targets, 1, seconds, rounds).items():
            rows.append([model, f"/{endpoint}", latency(runs)])
            bars.append(Bar(f"{model}: /{endpoint} idle, p50 ms", median([run.p50 for run in runs]), 1.5, False))
    results.table("One client, idle server", ("model", "endpoint", "p50 / p99 ms"), rows)
    return bars
