"""`make bench-density`: many small models on one machine, isolated and packed, beside Triton's own front end.

The models are copies of the iris logistic regression, asked one row a request, so many of them in turn; and forests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from tests.bench import scrapes
from tests.bench.dense import costs, many, mates, throughput, turns
from tests.bench.rig.results import Results
from tests.support.servers.server import serving, stop_on_sigterm

_MODELS = 40
PARTS = ("throughput", "alone", "memory", "forests", "slow", "hundred", "thousand", "scrapes")


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
        if not {"throughput", "alone", "memory"}.isdisjoint(wanted):
            _compare(folder / "forty", seconds, rounds, wanted, results)
        if "forests" in wanted:
            mates.forests(folder / "forests", seconds, rounds, results)
        if "slow" in wanted:
            mates.slow(folder / "slow", seconds, rounds, results)
        if "hundred" in wanted:
            many.hundred(folder / "hundred", results)
        if "thousand" in wanted:
            many.thousand(folder / "thousand", results)
            many.clear(folder / "thousand")
        if "scrapes" in wanted:
            scrapes.measure(folder / "scrapes", rounds, results)
    results.finish(output, "density")
    sys.exit(0 if results.met else 1)


def _compare(folder: Path, seconds: float, rounds: int, wanted: tuple[str, ...], results: Results) -> None:
    """Measure the same models isolated and packed."""
    names = turns.write_copies(folder / "models", _MODELS)
    with serving(folder / "models", folder / "isolated") as isolated:
        if "memory" in wanted:
            costs.isolated(isolated, names, results)
        with serving(folder / "models", folder / "packed", SCHWIFT_PACK="libraries") as packed:
            if "memory" in wanted:
                costs.ask_each(packed, names)
                costs.show(f"Memory, {_MODELS} packed models", costs.sizes(packed), results)
            if "throughput" in wanted:
                throughput.in_turn(isolated, packed, names, seconds, rounds, results)
            if "alone" in wanted:
                throughput.alone(isolated, packed, names, seconds, rounds, results)


if __name__ == "__main__":
    main()
