"""`make zoo`: models of the kinds that people have, by `schwift new`, `check`, `build-repo` and `verify`, and a table.

The exit code is 1 if one that can be served is not, an answer differs, or a refusal does not say what to do.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from converter.table import format_table
from tests.support.servers.server import ROOT
from tests.zoo.walks import Walk, Zoo
from tests.zoo.zoo_environment import make_environment

_STEPS = ("new", "check", "build", "verify")
_HEAD = ("MODEL", "KIND", *map(str.upper, _STEPS), "ANSWERS COMPARED", "ROWS THAT DIFFER", "SECONDS")


@click.command(help=__doc__)
@click.option("--keep", type=click.Path(path_type=Path), help="Leave all files in this folder, which must be new.")
def main(keep: Path | None) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="schwift-zoo-") as scratch:
        folder = keep or Path(scratch, "zoo")
        prefix = make_environment()
        print(f"environment: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        subprocess.run(
            [str(prefix / "bin" / "python"), "-W", "ignore", "-m", "tests.zoo.making", str(folder.absolute())],
            cwd=ROOT, check=True,
        )  # fmt: skip
        zoo = Zoo(folder.absolute(), prefix)
        zoo.go()
    print(report(zoo.walks, time.monotonic() - began))
    sys.exit(0 if all(map(is_well, zoo.walks)) else 1)


def is_well(walk: Walk) -> bool:
    """Tell whether a model is served as its original answers, or refused with what to do."""
    return walk.passed if walk.served else not walk.passed and walk.has_remedy


def report(walks: list[Walk], seconds: float) -> str:
    rows = [
        [
            walk.name, walk.kind, *(walk.steps.get(step, "-") for step in _STEPS), str(walk.compared),
            str(walk.differ), f"{walk.seconds:.1f}",
        ]
        for walk in walks
    ]  # fmt: skip
    lines = [format_table(_HEAD, rows), ""]
    lines += [f"{walk.name}: {walk.said}" for walk in walks if walk.said]
    served = [walk for walk in walks if walk.served]
    passed = [walk for walk in served if walk.passed]
    lines.append(
        f"\n{len(passed)} of {len(served)} models that can be served pass, {len(walks) - len(served)} cannot; "
        f"{sum(walk.compared for walk in walks)} answers compared, {sum(walk.differ for walk in walks)} rows differ; "
        f"{seconds:.0f} s"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
