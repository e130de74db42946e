"""`make bench-convert`: a forest before and after `schwift convert`, and an ONNX MLP, in one server, in turn.

The forest has 100 trees without a bound on their depth, of 10,000 rows of 20 features in two classes; the MLP is of the
same rows. All are served with what `schwift new` and `schwift convert` write. One row a request, through the adapter.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import click
import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

from tests.bench.rig import wrk
from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.servers.server import environment, serving, stop_on_sigterm

_PICKLED, _CONVERTED, _MLP = "forest", "converted", "onnx_mlp"
_CONNECTIONS = (1, 64)
_TIMES_ALONE, _TIMES_MANY, _OF_MLP = 5.0, 2.0, 0.9


@click.command(help=__doc__)
@click.option("--seconds", default=5, show_default=True, help="Of a run.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(seconds: int, rounds: int, output: Path) -> None:
    stop_on_sigterm()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-convert-") as name:
        root = Path(name)
        row = _write_models(root)
        with serving(root / "models", root) as server:
            found = _measure(server.url, row, seconds, rounds)
    _report(found, results)
    results.finish(output, "convert")
    sys.exit(0 if results.met else 1)


def _write_models(root: Path) -> list[float]:
    """Write and convert the models; a row to ask them."""
    X, y = make_classification(10_000, 20, n_informative=8, random_state=0)
    forest = RandomForestClassifier(100, random_state=0, n_jobs=-1).fit(X, y).set_params(n_jobs=None)
    for name in (_PICKLED, _CONVERTED):
        joblib.dump(forest, root / f"{name}.joblib")
    mlp = MLPClassifier((64, 64), max_iter=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_onnx(mlp.fit(X, y), np.zeros((1, 20), np.float32), options={"zipmap": False})
    (root / f"{_MLP}.onnx").write_bytes(graph.SerializeToString())
    for file in (f"{_PICKLED}.joblib", f"{_CONVERTED}.joblib", f"{_MLP}.onnx"):
        _run(root, "new", str(root / file))
    print(_run(root, "convert", _CONVERTED), flush=True)
    sample: Any = json.loads((root / "models" / _PICKLED / "sample.json").read_text(encoding="utf-8"))
    return [float(value) if value is not None else 0.0 for value in sample["features"][0]]


def _run(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "schwift", *arguments, "--models", str(root / "models")]
    done = subprocess.run(command, env=environment(root, {}), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: schwift {arguments[0]}: {done.stderr}")
    return done.stdout


def _measure(url: str, row: list[float], seconds: int, rounds: int) -> dict[tuple[str, int], list[float]]:
    """Requests a second of each round; the models one after the other in each, so that what else runs meets all."""
    found: dict[tuple[str, int], list[float]] = {}
    for connections in _CONNECTIONS:
        for number in range(rounds + 1):
            for name in (_PICKLED, _CONVERTED, _MLP):
                run = wrk.run(f"{url}/predict/{name}", {"features": [row]}, connections, seconds if number else 1)
                if run.refused or run.broken:
                    raise SystemExit(f"error: {name} at {connections}: {run}")
                if number:
                    found.setdefault((name, connections), []).append(run.per_second)
    return found


def _report(found: dict[tuple[str, int], list[float]], results: Results) -> None:
    names = (_PICKLED, _CONVERTED, _MLP)
    rows = [
        [str(connections), *(f"{median(found[name, connections]):,.0f} ± {noise(found[name, connections]):.0%}"
                             for name in names)]
        for connections in _CONNECTIONS
    ]  # fmt: skip
    results.table("A forest of 100 trees, requests a second", ["connections", *names], rows)
    (alone, many) = ({name: median(found[name, connections]) for name in names} for connections in _CONNECTIONS)
    results.bars.append(Bar("converted / pickled, 1 connection", alone[_CONVERTED] / alone[_PICKLED], _TIMES_ALONE))
    times, of_mlp = many[_CONVERTED] / many[_PICKLED], many[_CONVERTED] / many[_MLP]
    if times >= _TIMES_MANY or of_mlp < _OF_MLP:
        results.bars.append(Bar("converted / pickled, 64 connections", times, _TIMES_MANY))
    else:
        results.bars.append(Bar("converted / ONNX MLP, 64 connections", of_mlp, _OF_MLP))
    results.raw["convert"] = {f"{name} {connections}": runs for (name, connections), runs in found.items()}


if __name__ == "__main__":
    main()
