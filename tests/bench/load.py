"""`make bench-load BEFORE=<commit>`: what it costs that the bytes of a pickle are hashed before it is loaded.

Servers of this version and of the commit's, in pairs whose order alternates, each with a small model and one of 160 MB,
built before: the time to the start, the time that each model takes to load, and the memory of its two processes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
import httpx
import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

from tests.bench import footprint
from tests.bench.rig import another_version
from tests.bench.rig.results import Bar, Results, median
from tests.support.servers import pids
from tests.support.servers.server import serving, stop_on_sigterm

_WIDTH = 8
_ROWS = {"small": 200, "large": 2_500_000}
_BARS = {"start, s": 1.05, "small: PSS, MB": 1.03, "large: PSS, MB": 1.03}
_CONFIG = """\
model:
  name: {name}
  backend: sklearn
  model_args: {{model_file: model.joblib}}
  input: {{shape: [-1, {width}], dtype: float64}}
  output: {{shape: [-1, 1], dtype: float64}}
  instances: 2
"""


@click.command(help=__doc__)
@click.option("--before", required=True, help="The commit to compare with.")
@click.option("--rounds", default=9, show_default=True, help="Starts of each.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(before: str, rounds: int, output: Path) -> None:
    stop_on_sigterm()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        folder = Path(name)
        _write_models(folder / "models")
        tree, commit = another_version.check_out(before, folder / "tree")
        pythons = {"before": another_version.interpreter(tree, folder / "venv"), "after": sys.executable}
        found: dict[str, list[dict[str, float]]] = {side: [] for side in pythons}
        for side, python in pythons.items():
            # Builds, and fills caches.
            _measure(folder / "models", folder / side, python)
        for number in range(rounds):
            for side in sorted(pythons, reverse=number % 2 == 0):
                found[side].append(_measure(folder / "models", folder / side, pythons[side]))
    _report(found, commit, results)
    results.finish(output, "load")
    sys.exit(0 if results.met else 1)


def _write_models(models: Path) -> None:
    random = np.random.default_rng(0)
    for name, rows in _ROWS.items():
        X = random.normal(size=(rows, _WIDTH))
        model = LogisticRegression() if name == "small" else KNeighborsRegressor(1, algorithm="brute")
        model.fit(X, X[:, 0] > 0)
        folder = models / name
        folder.mkdir(parents=True)
        (folder / "model_config.yaml").write_text(_CONFIG.format(name=name, width=_WIDTH), encoding="utf-8")
        joblib.dump(model, folder / "model.joblib")


def _measure(models: Path, folder: Path, python: str) -> dict[str, float]:
    """Start, ask each model, and look: seconds, and PSS in MB."""
    began = time.monotonic()
    with serving(models, folder, python=python) as server:
        found = {"start, s": time.monotonic() - began}
        health = httpx.get(f"{server.url}/health").json()["models"]
        for name in _ROWS:
            found[f"{name}: load, s"] = health[name]["load_seconds"]
            for _ in range(4):
                server.post("predict", name, [[0.0] * _WIDTH]).raise_for_status()
            found[f"{name}: PSS, MB"] = sum(map(footprint.pss_mb, pids.stubs(server, f"{name}_direct")))
    return found


def _report(found: dict[str, list[dict[str, float]]], commit: str, results: Results) -> None:
    rows = []
    for what in found["after"][0]:
        before, after = ([each[what] for each in found[side]] for side in ("before", "after"))
        ratio = median([new / old for old, new in zip(before, after, strict=True)])
        rows.append([what, f"{median(before):.2f}", f"{median(after):.2f}", f"{ratio:.3f}"])
        if what in _BARS:
            results.bars.append(Bar(f"{what}, after / before", ratio, _BARS[what], False))
    results.table(
        f"Loading what was hashed, beside {commit}",
        ("", "before, median", "after, median", "after / before, median of pairs"),
        rows,
    )
    results.raw["load"] = found


if __name__ == "__main__":
    main()
