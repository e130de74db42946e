"""`make suites`: clients and test suites of others, unmodified, against a server that is started; prints a table.

The exit code is 1 if a part fails that is not listed as left out. A suite that can't be fetched is a row that says so,
and fails only if it was named.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import click

from tests.suites import clients, mlserver_tests, oip_openapi, perf_analyzer, target, triton_examples
from tests.suites.outcomes import Outcome, report
from tests.suites.workshop import NotReachable, Workshop
from tests.support.servers.server import ROOT, stop_on_sigterm


@dataclass(frozen=True)
class Suite:
    """One suite: `run` asks a target; `write` puts the models that it wants into a folder."""

    run: Callable[[target.Target, Workshop, Path], list[Outcome]]
    write: Callable[[Path], None] = target.write_models


# Those on the same models stand side by side: they share a server.
SUITES: dict[str, Suite] = {
    "kserve": Suite(clients.ask_with_kserve),
    "mlflow": Suite(clients.ask_with_mlflow),
    "java": Suite(clients.ask_with_java),
    "go": Suite(clients.ask_with_go),
    "node": Suite(clients.ask_with_node),
    "perf_analyzer": Suite(perf_analyzer.measure_with_perf_analyzer),
    "oip": Suite(oip_openapi.drive_with_schemathesis),
    "triton": Suite(triton_examples.run_triton_examples),
    "mlserver": Suite(mlserver_tests.run_mlserver_tests, target.write_sum_model),
}


@click.command(help=__doc__)
@click.argument("names", nargs=-1, metavar="[SUITE]...", type=click.Choice([*SUITES]))
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=ROOT / ".suites",
    help="Where environments and checkouts are kept.",
)
@click.option(
    "--sources", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with clones or mirrors, each under its repository's name, for machines that don't reach GitHub.",
)  # fmt: skip
def main(names: tuple[str, ...], cache: Path, sources: Path | None) -> None:
    stop_on_sigterm()
    began = time.monotonic()
    cache.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(cache.absolute(), sources.absolute() if sources else None)
    chosen = [(name, suite) for name, suite in SUITES.items() if not names or name in names]
    outcomes: list[Outcome] = []
    for write, group in groupby(chosen, lambda pair: pair[1].write):
        with (
            tempfile.TemporaryDirectory(prefix="schwift-suites-") as scratch,
            target.serve_models(write, Path(scratch)) as asked,
        ):
            for name, suite in group:
                outcomes += _run(name, suite, asked, workshop, Path(scratch))
    print(report(outcomes, time.monotonic() - began))
    bad = ("FAILED", "not reachable") if names else ("FAILED",)
    sys.exit(any(one.state in bad for one in outcomes))


def _run(name: str, suite: Suite, asked: target.Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    began = time.monotonic()
    try:
        return suite.run(asked, workshop, scratch)
    except NotReachable as error:
        return [Outcome(name, "all", "not reachable", str(error))]
    except AssertionError as error:
        return [Outcome(name, "all", "FAILED", str(error))]
    finally:
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
