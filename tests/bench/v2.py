"""V2 over HTTP on the adapter's port beside Triton's own V2: `python -m tests.bench.v2`, in turns, with bars.

Both get the same bytes: one row in JSON, or as a raw tensor. `/predict` with the same row stands beside them.
Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import numpy as np

from tests.bench.frontends import CONNECTIONS, Cell, latency, ratio
from tests.bench.rig import models, wrk
from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.servers.server import Server, serving, stop_on_sigterm

# Ratios of requests a second in JSON: ours to Triton's own.
_RATIOS = {16: 0.9, 64: 1.2, 256: 1.2}
_MODELS = (models.LOGREG, models.MLP)
_JSON: Mapping[str, str] = MappingProxyType({})
V2, TRITON, RAW, TRITON_RAW, PREDICT = "V2", "Triton's own", "V2 raw", "Triton's own, raw", "/predict"


def raw_request(model: str) -> tuple[bytes, dict[str, str]]:
    """One row as a raw tensor, answered by one, with its headers."""
    body: dict[str, Any] = models.triton_request(model)
    row = np.array(body["inputs"][0].pop("data"), np.float32).tobytes()
    body["inputs"][0]["parameters"] = {"binary_data_size": len(row)}
    head = json.dumps({**body, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return head + row, headers


def measure(server: Server, seconds: float, rounds: int, results: Results) -> None:
    rows = []
    for model in _MODELS:
        ours, own = (
            f"{server.url}/v2/models/{model}/infer",
            f"http://{server.triton_http}/v2/models/{model}_direct/infer",
        )
        text, (raw, headers) = models.triton_request(model), raw_request(model)
        targets: dict[str, tuple[str, Any, Mapping[str, str]]] = {
            V2: (ours, text, _JSON),
            TRITON: (own, text, _JSON),
            RAW: (ours, raw, headers),
            TRITON_RAW: (own, raw, headers),
            PREDICT: (f"{server.url}/predict/{model}", {"features": [models.row()]}, _JSON),
        }
        for connections in CONNECTIONS:
            cell = _in_turns(targets, connections, seconds, rounds)
            rate = [f"{median([run.per_second for run in cell[system]]):.0f}" for system in targets]
            spread = max(noise([run.per_second for run in runs]) for runs in cell.values())
            shown = [f"{ratio(cell, V2, TRITON):.2f}", f"{ratio(cell, RAW, TRITON_RAW):.2f}", latency(cell[V2])]
            rows.append([model, str(connections), *rate, f"{spread:.0%}", *shown, latency(cell[TRITON])])
            if connections in _RATIOS:
                what = f"{model}: V2 / Triton's own req/s at {connections}"
                results.bars.append(Bar(what, ratio(cell, V2, TRITON), _RATIOS[connections]))
    head = ("model", "connections", *(f"{system} req/s" for system in targets), "noise", "V2 / Triton",
            "raw: V2 / Triton", "V2 p50 / p99 ms", "Triton's p50 / p99")  # fmt: skip
    results.table("One row a request in the V2 protocol", head, rows)


def _in_turns(
    targets: Mapping[str, tuple[str, Any, Mapping[str, str]]], connections: int, seconds: float, rounds: int
) -> Cell:
    runs: dict[str, list[wrk.Result]] = {system: [] for system in targets}
    for number in range(rounds + 1):
        for system, (url, body, headers) in targets.items():
            result = wrk.run(url, body, connections, seconds if number else 1, headers)
            if result.refused or result.broken:
                raise SystemExit(f"error: {url} at {connections}: {result}")
            # The first round is to warm up.
            if number:
                runs[system].append(result)
    return runs


@click.command(help=__doc__)
@click.option("--seconds", default=3.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="Medians are of so many.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(seconds: float, rounds: int, output: Path) -> None:
    stop_on_sigterm()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        folder = Path(name)
        models.write(folder / "models")
        with serving(folder / "models", folder) as server:
            measure(server, seconds, rounds, results)
    results.finish(output, "v2")
    sys.exit(0 if results.met else 1)


if __name__ == "__main__":
    main()
