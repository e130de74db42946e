"""A stress tool: `python tests/load_test.py --model iris_onnx --concurrency 64 --duration 30`.

Sends one kind of request over kept-alive connections for a while, shows progress every second, and ends with a
summary: throughput, latency percentiles in milliseconds, and every status. Exit code 1 if nothing was answered 200.
The engine is that of `schwift bench`, which does more.
"""

from __future__ import annotations

import sys

import click
import uvloop

from schwift.load.bench_server import BenchProblem, BenchServer, allow_connections
from schwift.load.load_generator import LoadGenerator, LoadStep
from schwift.load.load_record import LoadRecord
from schwift.load.served_examples import choose_models

_REQUEST_SECONDS = 60
_PERCENTILES = (50, 90, 95, 99, 100)


class Progress:
    """A line every second: what was answered since the one before."""

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._before = 0

    def show(self, load: LoadGenerator) -> None:
        count, bad = load.record.good, load.record.failed
        said = f"{count - self._before:7d} answers/s  {bad} not 200"
        click.echo(f"{load.elapsed:5.0f} of {self._duration:g} s  {said}", err=True)
        self._before = count


async def run(url: str, model: str, endpoint: str, concurrency: int, duration: float, rows: int) -> LoadRecord:
    allow_connections(concurrency)
    server = BenchServer(url)
    (asked,) = choose_models(server, [model], endpoint, rows)
    step = LoadStep(concurrency, duration=duration, warmup=0.0, timeout=_REQUEST_SECONDS)
    load = LoadGenerator(server.target(asked.path, asked.bodies), step, LoadRecord())
    await load.run(Progress(duration).show, every=1.0)
    return load.record


def summary(record: LoadRecord, rows: int) -> str:
    lines = ["statuses: " + ", ".join(f"{status} x {count}" for status, count in record.counts().items())]
    latencies = record.good_latencies()
    if latencies.count:
        lines.append(f"throughput: {record.throughput:.0f} requests/s, {record.throughput * rows:.0f} rows/s")
        named = (f"p{percent} {latencies.percentile(percent) * 1e3:.1f}" for percent in _PERCENTILES)
        lines.append("latency, ms: " + ", ".join(named).replace("p100", "max"))
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--url", default="http://127.0.0.1:8005", show_default=True, help="Where the server is.")
@click.option("--model", required=True, help="The name of a model.")
@click.option("--endpoint", type=click.Choice(["predict", "predict_batched"]), default="predict", show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Connections.")
@click.option("--duration", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds.")
@click.option("--rows", type=click.IntRange(1), default=1, show_default=True, help="Rows of each request.")
def main(url: str, model: str, endpoint: str, concurrency: int, duration: float, rows: int) -> None:
    try:
        record = uvloop.run(run(url, model, endpoint, concurrency, duration, rows))
    except BenchProblem as error:
        raise click.ClickException(str(error)) from error
    click.echo(summary(record, rows))
    sys.exit(0 if record.good_latencies().count else 1)


if __name__ == "__main__":
    main()
