"""The benchmarks' figures as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

from tests.bench import frontends
from tests.bench import regimes as loads
from tests.bench.rig.results import Results, median

matplotlib.use("Agg")
_STYLES = {"idle": ("C0", "--"), "busy": ("C1", "--"), "rush": ("C2", "--"), loads.CHOSEN: ("black", "-")}


def regimes(results: Results, folder: Path) -> None:
    """Throughput and latency of each regime against the number of clients."""
    runs: list[dict[str, Any]] = results.raw["regimes"]
    figure, axes = pyplot.subplots(2, len(loads.MODELS), figsize=(5 * len(loads.MODELS), 7), sharex=True)
    for column, model in enumerate(loads.MODELS):
        axes[0][column].set_title(model)
        axes[1][column].set_xlabel("clients, each with one request at a time")
        for way, (colour, line) in _STYLES.items():
            found = [run for run in runs if run["model"] == model and run["way"] == way]
            for axis, key in zip(axes[:, column], ("per_second", "p99"), strict=True):
                values = [median([one[key] for one in run["rounds"]]) for run in found]
                axis.plot([run["clients"] for run in found], values, line, color=colour, label=way, marker="o", ms=3)
                axis.set(xscale="log", yscale="log")
                axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("requests/s")
    axes[1][0].set_ylabel("p99, ms")
    axes[0][0].legend()
    figure.suptitle("Regimes of /predict_batched: each forced, and the one that the adapter chooses")
    _save(figure, folder / "regimes.png")


def front_ends(results: Results, folder: Path) -> None:
    """Requests a second of each front end against the number of connections."""
    runs = [run for run in results.raw["front_ends"] if run["system"] != frontends.ALONE]
    names = list(dict.fromkeys(run["model"] for run in runs))
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 4))
    for axis, model in zip(axes, names, strict=True):
        for system in (frontends.OURS, frontends.TRITON, frontends.NAIVE):
            found = [run for run in runs if (run["model"], run["system"]) == (model, system)]
            found = [run for run in found if run["connections"] in frontends.CONNECTIONS]
            values = [median([one["per_second"] for one in run["rounds"]]) for run in found]
            axis.plot([run["connections"] for run in found], values, label=system, marker="o")
        axis.set(title=model, xlabel="connections", xscale="log", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("requests/s, one row each")
    axes[0].legend()
    _save(figure, folder / "front_ends.png")


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
