"""`make bench`: everything of docs/performance.md but the stall grid, in one run, with its bars.

Writes bench.md, bench.json and plots to the output folder. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from tests.bench import footprint, frontends, plots, regimes
from tests.bench.rig import cpu, models
from tests.bench.rig.results import Results
from tests.support.servers.server import serving, stop_on_sigterm

PARTS = ("frontends", "cpu", "regimes", "footprint")


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
        written = folder / "models"
        models.write(written)
        if "footprint" in wanted:
            footprint.memory(folder / "memory", results)
            footprint.cold_start(folder / "cold", rounds, results)
        if "frontends" in wanted:
            with serving(written, folder) as server:
                frontends.measure(server, seconds, rounds, results)
            plots.front_ends(results, output)
        if "cpu" in wanted:
            with serving(written, folder / "cpu") as server:
                cpu.measure(server, seconds, results)
        if "regimes" in wanted:
            regimes.measure(folder, written, min(seconds, 2.0), rounds, results)
            plots.regimes(results, output)
    results.finish(output)
    sys.exit(0 if results.met else 1)


if __name__ == "__main__":
    main()
