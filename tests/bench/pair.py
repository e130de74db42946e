"""`make bench-pair BEFORE=<commit>`: is this version slower than another one?

Both are served side by side on this machine, each by a Triton of its own, and measured in turn with wrk, in pairs whose
order alternates: what the machine does in these minutes happens to both. Each pair gives one ratio, after / before, of
requests a second. Printed are their median and its interval of 95 % by order statistics, which asks nothing of how the
ratios are spread. Exit code 1 where an interval lies wholly below the bar. Writes pair.md and pair.json.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from tests.bench.rig import another_version, models, wrk
from tests.bench.rig.results import Bar, Results, median
from tests.support.servers.server import ROOT, serving, stop_on_sigterm

MODELS = ("iris_logreg", "iris_onnx")
CONNECTIONS = (1, 16, 64, 256)
_LEVEL = 0.95
_WARM_SECONDS = 1.0


@dataclass(frozen=True)
class Side:
    """One of the two versions."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def load(self, path: str, connections: int, seconds: float) -> wrk.Result:
        """Load it for a while. An answer that is not 200 ends the program: its rate means nothing."""
        body = {"features": [models.row()]}
        result = wrk.run(f"{self.url}/{path}", body, connections, seconds, self.headers)
        if result.refused or result.broken or not result.per_second:
            raise SystemExit(f"error: {self.name}: {path}: {result.refused} refused, {result.broken} broken")
        return result


@dataclass(frozen=True)
class Interval:
    """Hold a median between two values; `level` is how surely, at least 0.95 if there are six values or more."""

    low: float
    high: float
    level: float


def median_interval(values: Sequence[float]) -> Interval:
    """The narrowest interval between two values, equally far from the ends, that holds the median with 95 %.

    So many of n values are below the median as heads are thrown with n coins: the k-th smallest and the k-th largest
    hold it between them unless fewer than k are below, or above.
    """
    ordered, n = sorted(values), len(values)
    outside = 0.0
    chosen = Interval(ordered[0], ordered[-1], 1 - 2 * 0.5**n)
    for k in range(1, n // 2 + 1):
        outside += 2 * math.comb(n, k - 1) * 0.5**n
        if 1 - outside < _LEVEL:
            break
        chosen = Interval(ordered[k - 1], ordered[n - k], 1 - outside)
    return chosen


@click.command(help=__doc__)
@click.argument("before")
@click.option("--pairs", default=15, show_default=True, help="Of each cell.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement.")
@click.option("--connections", type=int, multiple=True, default=CONNECTIONS, show_default=True)
@click.option("--model", "names", type=click.Choice(MODELS), multiple=True, default=MODELS, show_default=True)
@click.option("--endpoint", type=click.Choice(["predict", "predict_batched"]), default="predict", show_default=True)
@click.option("--bar", default=0.98, show_default=True, help="The least ratio.")
@click.option("--settings", default="", help="For this version alone, as in 'MAX_REQUESTS=100000000 NAME=value'.")
@click.option("--header", "headers", multiple=True, help="Sent to this version alone, as in 'X-API-Key: …'.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(
    before: str,
    pairs: int,
    seconds: float,
    connections: tuple[int, ...],
    names: tuple[str, ...],
    endpoint: str,
    bar: float,
    settings: str,
    headers: tuple[str, ...],
    output: Path,
) -> None:
    stop_on_sigterm()
    results = Results()
    given = dict(word.split("=", 1) for word in shlex.split(settings))
    sent = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as folder, contextlib.ExitStack() as stack:
        tree, commit = another_version.check_out(before, Path(folder, "tree"))
        python = another_version.interpreter(tree, Path(folder, "venv"))
        written = _copy_models(names, Path(folder, "models"))
        old = stack.enter_context(serving(written, Path(folder, "before"), python=python))
        new = stack.enter_context(serving(written, Path(folder, "after"), **given))
        sides = Side("before", old.url), Side("after", new.url, sent)
        _measure(sides, [f"{endpoint}/{name}" for name in names], connections, pairs, seconds, bar, results)
    results.raw |= {"before": commit, "settings": sorted(given), "pairs": pairs, "seconds": seconds}
    results.finish(output, "pair")
    sys.exit(0 if results.met else 1)


def _copy_models(names: Sequence[str], folder: Path) -> Path:
    """The same files for both."""
    for name in names:
        shutil.copytree(ROOT / "models" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _measure(
    sides: tuple[Side, Side],
    paths: Sequence[str],
    connections: Sequence[int],
    pairs: int,
    seconds: float,
    bar: float,
    results: Results,
) -> None:
    rows = []
    for path in paths:
        for count in connections:
            before, after = measure_cell(sides, path, count, pairs, seconds)
            ratios = [new.per_second / old.per_second for old, new in zip(before, after, strict=True)]
            found = median_interval(ratios)
            where = f"{path}, {count} connections"
            rows.append([
                path, str(count), *(f"{median([run.per_second for run in side]):.0f}" for side in (before, after)),
                *(f"{median([run.p99 for run in side]):.2f}" for side in (before, after)),
                f"{median(ratios):.3f}", f"{found.low:.3f} – {found.high:.3f}", f"{100 * found.level:.1f} %",
            ])  # fmt: skip
            print(f"{where}: {rows[-1][-3]}, {rows[-1][-2]}", flush=True)
            results.bars.append(Bar(f"{where}: upper end of the interval", found.high, bar))
            results.raw.setdefault("cells", []).append(
                {"path": path, "connections": count, "ratios": ratios, **asdict(found)}
            )
    head = ("path", "connections", "before/s", "after/s", "its p99, ms", "after's", "median ratio", "interval", "level")
    results.table("This version beside the one before", head, rows)


def measure_cell(
    sides: tuple[Side, Side], path: str, connections: int, pairs: int, seconds: float
) -> tuple[list[wrk.Result], list[wrk.Result]]:
    """So many runs of each, one after the other; who is first in a pair is second in the next."""
    for side in sides:
        side.load(path, connections, _WARM_SECONDS)
    runs: dict[str, list[wrk.Result]] = {side.name: [] for side in sides}
    for number in range(pairs):
        for side in sides if number % 2 == 0 else sides[::-1]:
            runs[side.name].append(side.load(path, connections, seconds))
    return runs["before"], runs["after"]


if __name__ == "__main__":
    main()
