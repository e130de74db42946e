"""`make bench-environments`: what environments cost: to make one, in memory, and at a start where all are cached.

With BEFORE=<commit>, the cold start of the examples beside that commit's, in pairs whose order alternates.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click

from converter.environments.engine import ensure_engine
from converter.environments.environment_store import EnvironmentStore
from converter.environments.fronts import ensure_fronts
from converter.environments.interpreter import find_pythons
from converter.schema.settings import load_settings
from tests.bench import footprint
from tests.bench.rig import another_version
from tests.bench.rig.results import Bar, Results, median
from tests.environments.trained import train, write_models
from tests.support.servers.server import serving, stop_on_sigterm

# Requirements and Pythons, by how the models of each are called.
_ENVIRONMENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "old": ("3.11", ("joblib", "scikit-learn==1.7.*", "numpy==1.26.*")),
    "today": ("3.11", ("joblib", "scikit-learn", "numpy>=2")),
    "today313": ("3.13", ("joblib", "scikit-learn", "numpy>=2")),
}
_COLD_START = 1.1


@click.command(help=__doc__)
@click.option("--before", help="A commit to compare the cold start with.")
@click.option("--rounds", default=7, show_default=True, help="Cold starts of each.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(before: str | None, rounds: int, output: Path) -> None:
    stop_on_sigterm()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        folder = Path(name)
        engine = ensure_engine(load_settings(env_file=None), print)
        settings = {"SCHWIFT_CACHE": str(folder / "cache"), "SCHWIFT_ENGINE": str(engine.folder)}
        store = EnvironmentStore(folder / "cache" / "environments")
        _make(store, folder, settings, results)
        _memory(folder, settings, results)
        if before is not None:
            _cold_start(before, rounds, folder / "cold", results)
    results.finish(output, "environments")
    sys.exit(0 if results.met else 1)


def _make(store: EnvironmentStore, folder: Path, settings: Mapping[str, str], results: Results) -> None:
    """Make each from pip's own cache, if that has its wheels, and train models in it."""
    pythons = find_pythons()
    rows = []
    for name, (version, lines) in _ENVIRONMENTS.items():
        began = time.monotonic()
        key, lock = store.build(lines, (version, pythons[version]), (), lambda text: None)
        seconds = time.monotonic() - began
        packages = ", ".join(line for line in lock if line.startswith(("numpy=", "scikit-learn=")))
        size = next(each.size for each in store.list_all() if each.key == key) >> 20
        rows.append([f"Python {version}, {packages}", f"{seconds:.0f}", str(size)])
        wanted = "".join(f"  - {line}\n" for line in lines)
        more = f'  python: "{version}"\n  requirements:\n{wanted}'
        write_models(train(store.root / key, folder / f"trained-{name}"), folder / "models", name, more)
    began = time.monotonic()
    made = ensure_fronts(load_settings(env_file=None, cache=Path(settings["SCHWIFT_CACHE"])), lambda text: None)
    assert made is not None
    size = next(each.size for each in store.list_all() if each.key == made.name) >> 20
    rows.append(["that of fronts, numpy 1.26 alone", f"{time.monotonic() - began:.0f}", str(size)])
    results.table("To make an environment", ("environment", "s", "MiB on the disk"), rows)


def _memory(folder: Path, settings: Mapping[str, str], results: Results) -> None:
    """PSS of the processes of the same five models in each environment, all served at once."""
    with serving(folder / "models", folder / "served", **settings) as server:
        costs = {
            footprint.what(pid).removeprefix("stub of "): footprint.pss_mb(pid)
            for pid in footprint.tree(server.process.pid)
        }
    rows = []
    for name, (version, lines) in _ENVIRONMENTS.items():
        found = sorted(cost for model, cost in costs.items() if model.startswith(f"{name}_") and "_direct" in model)
        rows.append([name, f"Python {version}: {', '.join(lines[1:])}", f"{median(found):.0f}"])
    results.table("Memory of a model's process, median of five", ("models", "environment", "PSS MB"), rows)


def _cold_start(before: str, rounds: int, folder: Path, results: Results) -> None:
    tree, commit = another_version.check_out(before, folder / "tree")
    python = another_version.interpreter(tree, folder / "venv")
    seconds: dict[str, list[float]] = {"before": [], "after": []}
    for number in range(rounds):
        for side in ("before", "after") if number % 2 == 0 else ("after", "before"):
            where = folder / f"{side}-{number}"
            seconds[side].append(footprint.start(where, python if side == "before" else sys.executable))
    ratios = [after / old for old, after in zip(seconds["before"], seconds["after"], strict=True)]
    results.table(
        f"Cold start of the six examples, beside {commit}",
        ("", "rounds, s", "median"),
        [[side, ", ".join(f"{value:.1f}" for value in each), f"{median(each):.2f}"] for side, each in seconds.items()],
    )
    results.bars.append(Bar("cold start, after / before, median of pairs", median(ratios), _COLD_START, False))
    results.raw["cold_start_seconds"] = seconds


if __name__ == "__main__":
    main()
