"""`make bench-stall`: does a request ever wait for Triton's batcher without reason?

For each model and number of connections, straight to Triton's HTTP: median, 99th percentile and the worst request,
in milliseconds. A stall shows as a worst request near median + 500 ms. The grid is measured on a fresh load, and the
front's cells once more after an overload that Triton rejects. Exit code 1 where a request took more than its cell's
median + 100 ms, or was refused below the queue's bound.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from tests.bench.rig import sleeping, wrk
from tests.support.servers.server import serving, stop_on_sigterm

_SERVICE_MS = (0, 1, 5)
_CONNECTIONS = (1, 8, 32, 100)
_ALLOWED_MS = 100.0
# Above Triton's queue bound of 2 x 128, so that it rejects.
_OVERLOAD = 600
# A queue that is full when its clients leave wakes nobody: Triton notifies its batcher of accepted requests only, so
# it may go on rejecting for the half second that the batcher sleeps. The adapter never fills that queue.
_SETTLE_SECONDS = 1.0
_HEAD = "| {} | connections | req/s | p50 ms | p99 ms | worst ms | refused | |\n|---|---|---|---|---|---|---|---|"


def show(title: str, connections: int, result: wrk.Result) -> bool:
    """One line of the table; whether the cell is within the bar."""
    good = result.worst <= result.p50 + _ALLOWED_MS and result.refused == result.broken == 0
    click.echo(
        f"| {title} | {connections} | {result.per_second:.0f} | {result.p50:.1f} | {result.p99:.1f} "
        f"| {result.worst:.1f} | {result.refused + result.broken} | {'ok' if good else 'OVER'} |"
    )
    return good


@click.command(help=__doc__)
@click.option("--seconds", default=20.0, show_default=True, help="Of each cell.")
@click.option(
    "--soak", default=0.0, show_default=True, help="Seconds of a soak at 32 connections, in place of the grid."
)
def main(seconds: float, soak: float) -> None:
    stop_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as folder:
        models = Path(folder, "models")
        names = [sleeping.write(models, ms) for ms in _SERVICE_MS]
        with serving(models, Path(folder), MAX_CONCURRENT_REQUESTS="128") as server:
            base = f"http://{server.triton_http}/v2/models"
            good = soaked(base, names[0], soak) if soak else grid(base, names, seconds)
    sys.exit(0 if good else 1)


def grid(base: str, names: list[str], seconds: float) -> bool:
    click.echo(
        "| model | connections | req/s | p50 ms | p99 ms | worst ms | refused | |\n|---|---|---|---|---|---|---|---|"
    )
    body = sleeping.triton_request()
    cells = [
        show(model, connections, wrk.run(f"{base}/{model}/infer", body, connections, seconds))
        for name in names
        for model in (name, f"{name}_direct")
        for connections in _CONNECTIONS
    ]
    for name in names:
        refused = wrk.run(f"{base}/{name}/infer", body, _OVERLOAD, 3).refused
        click.echo(f"| {name} overloaded: {refused} refused | {_OVERLOAD} | | | | | | |")
        time.sleep(_SETTLE_SECONDS)
        cells += [
            show(f"{name} after it", connections, wrk.run(f"{base}/{name}/infer", body, connections, seconds))
            for connections in _CONNECTIONS
        ]
    click.echo(f"{cells.count(True)} of {len(cells)} cells within median + {_ALLOWED_MS:g} ms")
    return all(cells)


def soaked(base: str, name: str, seconds: float) -> bool:
    """Minute by minute; the last must keep nine tenths of the first's throughput."""
    click.echo(_HEAD.format("soak, minute"))
    url, body = f"{base}/{name}/infer", sleeping.triton_request()
    good, rates = True, []
    for minute in range(1, max(1, round(seconds / 60)) + 1):
        result = wrk.run(url, body, 32, min(60, seconds))
        rates.append(result.per_second)
        good &= show(str(minute), 32, result)
    click.echo(f"last minute / first: {rates[-1] / rates[0]:.2f}")
    return good and rates[-1] >= 0.9 * rates[0]


if __name__ == "__main__":
    main()
