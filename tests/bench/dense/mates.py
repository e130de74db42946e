"""What models in one process do to each other: slow ones beside quick ones, and forests that are asked together."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from tests.bench.dense import turns
from tests.bench.rig import wrk
from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.models.sample_models import model_yaml
from tests.support.servers.server import ROOT, serving

_FORESTS, _TREES, _FOREST_CONNECTIONS, _FOREST_RATIO = 4, 100, 64, 1.0
_SLOW_MS = 20.0
_ONE_INSTANCE_CALLS, _TWO_INSTANCES_MS = 2.0, 5.0
# Trees of the forest by which it is found how many take that long.
_TRIED_TREES = 100


def forests(folder: Path, seconds: float, rounds: int, results: Results) -> None:
    """Ask four forests in turn, packed and isolated."""
    names = [f"forest_{number}" for number in range(_FORESTS)]
    for name in names:
        _write(folder / "models", name, _forest(_TREES), {})
    with (
        serving(folder / "models", folder / "isolated") as isolated,
        serving(folder / "models", folder / "packed", SCHWIFT_PACK="libraries") as packed,
    ):
        targets = {"isolated": turns.adapter(isolated, names), "packed": turns.adapter(packed, names)}
        found = turns.measure(targets, _FOREST_CONNECTIONS, seconds, 2 * rounds + 1)
    ratio = turns.ratio(found["packed"], found["isolated"])
    rates = {name: turns.rates(runs) for name, runs in found.items()}
    spread = max(map(noise, rates.values()))
    row = [*(f"{median(rates[name]):.0f}" for name in targets), f"{spread:.0%}", f"{ratio:.2f}"]
    head = ("isolated", "packed", "noise", "ratio")
    results.table(f"{_FORESTS} forests of {_TREES} trees at {_FOREST_CONNECTIONS} connections, req/s", head, [row])
    what = f"{_FORESTS} forests at {_FOREST_CONNECTIONS}: packed / isolated req/s"
    results.bars.append(Bar(what, ratio, _FOREST_RATIO))


def slow(folder: Path, seconds: float, rounds: int, results: Results) -> None:
    """Ask a quick model whose pack mate is slow and busy, with one and two processes of the pack; medians of rounds."""
    rows = []
    model = _slow_forest()
    for instances in (1, 2):
        here = folder / str(instances)
        _write(here / "models", "slow", model, {"pack": "mates", "instances": instances})
        _write(here / "models", "quick", None, {"pack": "mates", "instances": instances})
        with serving(here / "models", here) as server:
            slow_target, quick_target = turns.adapter(server, ["slow"]), turns.adapter(server, ["quick"])
            call_ms = wrk.run(slow_target.url, slow_target.body, 1, 2, paths=slow_target.paths).p50
            with _busy(slow_target, rounds * (seconds + 0.5) + 3):
                # Until the slow one is known for it.
                wrk.run(quick_target.url, quick_target.body, 2, 1, paths=quick_target.paths)
                runs = [
                    wrk.run(quick_target.url, quick_target.body, 2, seconds, paths=quick_target.paths)
                    for _ in range(rounds)
                ]
        for run in runs:
            if run.refused or run.broken:
                raise SystemExit(f"error: beside a slow mate: {run}")
        p99s = [run.p99 for run in runs]
        p99 = median(p99s)
        p50 = median([run.p50 for run in runs])
        rows.append([str(instances), f"{call_ms:.1f}", f"{p50:.2f}", f"{p99:.2f}", f"{min(p99s):.2f}–{max(p99s):.2f}"])
        if instances == 1:
            what, value, bar = "p99 of a quick model, in calls of its slow mate", p99 / call_ms, _ONE_INSTANCE_CALLS
        else:
            what, value, bar = "the same with instances: 2, ms", p99, _TWO_INSTANCES_MS
        results.bars.append(Bar(what, value, bar, False))
    head = ("instances", "a slow call, ms", "quick: p50, ms", "p99, ms", "from – to")
    results.table("A quick model beside a slow one that is always asked", head, rows)


@contextmanager
def _busy(target: turns.Target, seconds: float) -> Iterator[None]:
    """Ask a model over four connections meanwhile."""
    asking = threading.Thread(
        target=wrk.run, args=(target.url, target.body, 4, seconds), kwargs={"paths": target.paths}
    )
    asking.start()
    time.sleep(1)
    try:
        yield
    finally:
        asking.join()


def _write(models: Path, name: str, model: Any, keys: dict[str, Any]) -> None:
    """Write a model of the iris example's shape; None is that example."""
    folder = models / name
    folder.mkdir(parents=True)
    if model is None:
        shutil.copy(ROOT / "models" / "iris_logreg" / "model.joblib", folder / "m.joblib")
    else:
        joblib.dump(model, folder / "m.joblib")
    text = model_yaml("sklearn", name=name, **turns.TENSORS, **keys)
    (folder / "model_config.yaml").write_text(text, encoding="utf-8")


def _forest(trees: int) -> RandomForestClassifier:
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 4))
    return RandomForestClassifier(trees, random_state=0).fit(
        rows, (rows[:, 0] + rows[:, 1] > 0).astype(int) + (rows[:, 2] > 0)
    )


def _slow_forest() -> RandomForestClassifier:
    """A forest that takes some 20 ms for a row here."""
    tried = _forest(_TRIED_TREES)
    row = np.array([turns.ROW])
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        tried.predict_proba(row)
        seconds.append(time.perf_counter() - started)
    return _forest(max(10, round(_TRIED_TREES * _SLOW_MS / 1e3 / median(seconds))))
