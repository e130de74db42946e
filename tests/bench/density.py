"""`make bench-density`: many small models on one machine: requests a second beside Triton's own, memory, and idle CPU.

The models are copies of the iris logistic regression, asked one row a request, so many of them in turn.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import click

from tests.bench import scrapes
from tests.bench.footprint import pss_mb, tree, what
from tests.bench.rig import cpu, wrk
from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.models.sample_models import model_yaml
from tests.support.servers.server import ROOT, Server, serving, stop_on_sigterm

_MODELS = 40
_IN_USE = (1, 2, 5, 10, 40)
_CONNECTIONS = (8, 64)
_ROW = [5.1, 3.5, 1.4, 0.2]
_BODY = {"features": [_ROW]}
_TRITONS = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": _ROW}]}
# At 8 connections, of Triton's own requests a second.
_HELD, _RATIO = (1, 2, 5, 10), 0.9
_MODEL_MB = 80
_IDLE_PERCENT = 2.0
_IDLE_SECONDS = 30
_TENSORS = {
    "input": {"type": "array", "shape": [-1, 4], "dtype": "float64"},
    "output": {"type": "array", "shape": [-1, 3], "dtype": "float64"},
}
PARTS = ("throughput", "memory", "scrapes")


@click.command(help=__doc__)
@click.option("--seconds", default=3.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="Medians are of so many.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="These parts; all by default.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(seconds: float, rounds: int, only: tuple[str, ...], output: Path) -> None:
    stop_on_sigterm()
    wanted = only or PARTS
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        folder = Path(name)
        if "scrapes" in wanted:
            scrapes.measure(folder / "scrapes", rounds, results)
        if wanted != ("scrapes",):
            write_models(folder / "models", _MODELS)
            with serving(folder / "models", folder) as server:
                if "memory" in wanted:
                    _measure_memory(server, results)
                if "throughput" in wanted:
                    _measure_throughput(server, seconds, rounds, results)
    results.finish(output, "density")
    sys.exit(0 if results.met else 1)


def write_models(folder: Path, count: int) -> None:
    """Write so many copies of the example."""
    for number in range(count):
        model = folder / f"iris_{number}"
        model.mkdir(parents=True)
        shutil.copy(ROOT / "models" / "iris_logreg" / "model.joblib", model / "m.joblib")
        text = model_yaml("sklearn", name=model.name, **_TENSORS)
        (model / "model_config.yaml").write_text(text, encoding="utf-8")


def _measure_throughput(server: Server, seconds: float, rounds: int, results: Results) -> None:
    rows = []
    for count in _IN_USE:
        for connections in _CONNECTIONS:
            ours, theirs = _in_turns(server, count, connections, seconds, rounds)
            ratio = median([one / other for one, other in zip(ours, theirs, strict=True)])
            spread = max(noise(ours), noise(theirs))
            rows.append([str(count), str(connections), f"{median(ours):.0f}", f"{median(theirs):.0f}", f"{spread:.0%}",
                         f"{ratio:.2f}"])  # fmt: skip
            results.raw.setdefault("density", []).append(
                {"models": count, "connections": connections, "adapter": ours, "triton": theirs}
            )
            if connections == min(_CONNECTIONS) and count in _HELD:
                what = f"{count} isolated models in turn at {connections}: adapter / Triton's own req/s"
                results.bars.append(Bar(what, ratio, _RATIO))
    head = ("models in use", "connections", "adapter req/s", "Triton's own", "noise", "ratio")
    results.table(f"{_MODELS} models, one row a request", head, rows)


def _in_turns(
    server: Server, count: int, connections: int, seconds: float, rounds: int
) -> tuple[list[float], list[float]]:
    """Ask both front ends in each round, so that what else the machine does meets both."""
    names = [f"iris_{number}" for number in range(count)]
    targets = {
        server.url: (_BODY, [f"/predict/{name}" for name in names]),
        f"http://{server.triton_http}": (_TRITONS, [f"/v2/models/{name}_direct/infer" for name in names]),
    }
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for url, (body, paths) in targets.items():
            # The first round warms up.
            run = wrk.run(url, body, connections, seconds if number else 1, paths=paths)
            if run.refused or run.broken:
                raise SystemExit(f"error: {url} at {connections}: {run}")
            if number:
                found[url].append(run.per_second)
    ours, theirs = found.values()
    return ours, theirs


def _measure_memory(server: Server, results: Results) -> None:
    """Measure what all processes hold once each model was asked, and what they do when nobody asks."""
    for number in range(_MODELS):
        for endpoint in ("predict", "predict_batched"):
            if server.post(endpoint, f"iris_{number}", [_ROW]).status_code != 200:
                raise SystemExit(f"error: iris_{number} does not answer")
    sizes: dict[str, list[float]] = defaultdict(list)
    pids = tree(server.process.pid)
    for pid in pids:
        name = what(pid)
        kind = "models" if name.endswith("_direct") else "fronts" if name.startswith("stub of") else name
        sizes[kind].append(pss_mb(pid))
    time.sleep(_IDLE_SECONDS / 3)
    before = _cpu_seconds(pids)
    time.sleep(_IDLE_SECONDS)
    percent = 100 * (_cpu_seconds(pids) - before) / _IDLE_SECONDS
    rows = [[kind, str(len(found)), f"{sum(found):.0f}", f"{sum(found) / len(found):.1f}"]
            for kind, found in sizes.items()]  # fmt: skip
    total = sum(map(sum, sizes.values()))
    rows.append(["all", str(len(pids)), f"{total:.0f}", f"{total / len(pids):.1f}"])
    results.table(f"Memory, {_MODELS} isolated models", ("processes", "number", "PSS MB", "each"), rows)
    a_model = (sum(sizes["models"]) + sum(sizes["fronts"])) / _MODELS
    results.bars.append(Bar("an isolated model, all its processes, PSS MB", a_model, _MODEL_MB, False))
    results.bars.append(Bar(f"{_MODELS} idle models, CPU of everything, % of a core", percent, _IDLE_PERCENT, False))
    results.raw["memory_mb"] = {kind: sum(found) for kind, found in sizes.items()}


def _cpu_seconds(pids: Sequence[int]) -> float:
    return sum(map(sum, map(cpu.spent, pids)))


if __name__ == "__main__":
    main()
