"""Several servers, each asked in turn for the same rows, so that what else the machine does meets all of them."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.rig import wrk
from tests.bench.rig.results import median
from tests.support.models.sample_models import model_yaml
from tests.support.servers.server import ROOT, Server

ROW = [5.1, 3.5, 1.4, 0.2]
_BODY = {"features": [ROW]}
_TRITONS = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": ROW}]}
TENSORS = {
    "input": {"type": "array", "shape": [-1, 4], "dtype": "float64"},
    "output": {"type": "array", "shape": [-1, 3], "dtype": "float64"},
}


class Target(NamedTuple):
    """What is asked of whom: a body for each of the paths in turn."""

    url: str
    body: Any
    paths: Sequence[str]


def adapter(server: Server, names: Sequence[str]) -> Target:
    """These models, on the adapter's /predict."""
    return Target(server.url, _BODY, [f"/predict/{name}" for name in names])


def triton(server: Server, names: Sequence[str]) -> Target:
    """These models, by Triton's own front end, without the batcher's delay."""
    return Target(f"http://{server.triton_http}", _TRITONS, [f"/v2/models/{name}_direct/infer" for name in names])


def measure(
    targets: Mapping[str, Target], connections: int, seconds: float, rounds: int
) -> dict[str, list[wrk.Result]]:
    """Ask each target in each round; the first round warms up."""
    found: dict[str, list[wrk.Result]] = defaultdict(list)
    for number in range(rounds + 1):
        for name, (url, body, paths) in targets.items():
            run = wrk.run(url, body, connections, seconds if number else 1, paths=paths)
            if run.refused or run.broken:
                raise SystemExit(f"error: {name}: {url} at {connections}: {run}")
            if number:
                found[name].append(run)
    return found


def rates(runs: Sequence[wrk.Result]) -> list[float]:
    return [run.per_second for run in runs]


def ratio(ours: Sequence[wrk.Result], theirs: Sequence[wrk.Result]) -> float:
    """The median of the rounds' ratios of requests a second."""
    return median([one.per_second / other.per_second for one, other in zip(ours, theirs, strict=True)])


def write_copies(folder: Path, count: int, **keys: Any) -> list[str]:
    """Write so many copies of the iris example with these keys, and return their names."""
    names = [f"iris_{number}" for number in range(count)]
    for name in names:
        model = folder / name
        model.mkdir(parents=True)
        shutil.copy(ROOT / "models" / "iris_logreg" / "model.joblib", model / "m.joblib")
        text = model_yaml("sklearn", name=name, **TENSORS, **keys)
        (model / "model_config.yaml").write_text(text, encoding="utf-8")
    return names
