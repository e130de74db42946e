"""`make bench-builds`: what a build of many small models takes, of all and with nothing changed, and its growth.

In rounds of each size, the smaller and the larger in turn; a model is a logistic regression of 4 features.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.bench.rig.results import Bar, Results, median, noise
from tests.support.models.sample_models import model_yaml
from tests.support.servers.server import ROOT, environment

_FULL_SECONDS = 40.0
_NOTHING_SECONDS = 2.0
_TIMES_LINEAR = 1.15
# A file that was just written is looked at once more by the next build (converter/repository/stamps.py).
_SETTLED_SECONDS = 2.1


@click.command(help=__doc__)
@click.option("--models", "most", default=1000, show_default=True, help="Models of the larger repository.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(most: int, rounds: int, output: Path) -> None:
    results = Results()
    full: dict[int, list[float]] = {most // 4: [], most: []}
    nothing: dict[int, list[float]] = {most // 4: [], most: []}
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        for count in full:
            _write_models(Path(name) / f"models{count}", count)
        time.sleep(_SETTLED_SECONDS)
        for number in range(rounds):
            for count in full:
                repository = Path(name) / f"repository{number}-{count}"
                full[count].append(_build(Path(name), count, repository, "written"))
                # Not the disk's work for the one before.
                os.sync()
                nothing[count].append(_build(Path(name), count, repository, "up to date"))
    rows = [
        [what, str(count), f"{median(seconds):.2f}", f"{noise(seconds):.0%}", f"{1e3 * median(seconds) / count:.1f}"]
        for what, found in (("all", full), ("nothing", nothing))
        for count, seconds in found.items()
    ]
    results.table("Builds of many models", ["changed", "models", "s", "noise", "ms a model"], rows)
    few, many = full
    results.bars += [
        Bar(f"all of {most} models, s", median(full[most]), _FULL_SECONDS, at_least=False),
        Bar(f"nothing of {most} models, s", median(nothing[most]), _NOTHING_SECONDS, at_least=False),
        Bar(
            "s a model, many / few",
            median(full[many]) / many / (median(full[few]) / few),
            _TIMES_LINEAR,
            at_least=False,
        ),
    ]
    results.raw = {"full": full, "nothing": nothing}
    results.finish(output, "builds")
    sys.exit(0 if results.met else 1)


def _write_models(folder: Path, count: int) -> None:
    content = (ROOT / "models" / "iris_logreg" / "model.joblib").read_bytes()
    for number in range(count):
        name = f"model_{number:04}"
        (folder / name).mkdir(parents=True)
        (folder / name / "m.joblib").write_bytes(content)
        (folder / name / "model_config.yaml").write_text(model_yaml(name=name), encoding="utf-8")


def _build(folder: Path, count: int, repository: Path, said: str) -> float:
    """Build as a user does; return the seconds that it took."""
    command = [sys.executable, "-m", "schwift", "build-repo", "--models", str(folder / f"models{count}")]
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--output", str(repository)], cwd=folder, env=environment(folder, {}), capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0 or f": {said}, " not in done.stdout.splitlines()[-1]:
        raise SystemExit(f"error: the build of {count} models did not go as it should:\n{done.stdout}{done.stderr}")
    return seconds


if __name__ == "__main__":
    main()
