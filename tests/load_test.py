"""A stress tool: `python tests/load_test.py --model iris_onnx --concurrency 64 --duration 30`.

Sends one kind of request over kept-alive connections for a while, shows progress every second, and ends with a
summary: throughput, latency percentiles in milliseconds, and every status. Exit code 1 if nothing was answered 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import aiohttp
import click

_REQUEST_SECONDS = 60
_PERCENTILES = (50, 90, 95, 99, 100)


@dataclass
class Results:
    """Latencies are in seconds, of answers with 200 only; `statuses` counts every outcome."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Answer:
    """What became of one request: its status, or the name of the error where the connection failed."""

    started: float
    status: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


Check = Callable[[Answer], None]


def percentile(ordered: list[float], percent: float) -> float:
    """The nearest-rank percentile of sorted values; 100 is the largest."""
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


async def features_for(session: aiohttp.ClientSession, url: str, model: str, endpoint: str, rows: int) -> Any:
    """The example that the server documents for this model, repeated to the number of rows."""
    async with session.get(f"{url}/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    body = paths[f"/{endpoint}/{{model_name}}"]["post"]["requestBody"]["content"]["application/json"]
    if model not in body["examples"]:
        raise click.ClickException(f"no model {model} on /{endpoint}: there are {', '.join(body['examples'])}")
    features = body["examples"][model]["value"]["features"]
    if isinstance(features, dict):
        return {name: [values[0]] * rows for name, values in features.items()}
    return [features[0]] * rows


async def worker(
    session: aiohttp.ClientSession,
    url: str,
    bodies: Iterable[bytes],
    until: float,
    results: Results,
    check: Check | None = None,
    pause: float = 0.0,
) -> None:
    """One client: a request at a time, `pause` seconds apart, until then or until there are no more bodies."""
    headers = {"Content-Type": "application/json"}
    for body in bodies:
        if time.monotonic() >= until:
            return
        answer = await _ask(session, url, body, headers)
        results.statuses[answer.status] += 1
        if answer.status == "200":
            results.latencies.append(time.monotonic() - answer.started)
        if check is not None:
            check(answer)
        if pause:
            await asyncio.sleep(pause)


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    started = time.monotonic()
    try:
        async with session.post(url, data=body, headers=headers) as answer:
            return Answer(started, str(answer.status), answer.headers, await answer.read())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # A server that is away must not turn this into a busy loop.
        await asyncio.sleep(0.05)
        return Answer(started, type(error).__name__)


async def show_progress(started: float, duration: float, results: Results) -> None:
    before = 0
    while True:
        await asyncio.sleep(1)
        elapsed, count = time.monotonic() - started, len(results.latencies)
        bad = sum(results.statuses.values()) - count
        click.echo(f"{elapsed:5.0f} of {duration:g} s  {count - before:7d} answers/s  {bad} not 200", err=True)
        before = count


async def run(url: str, model: str, endpoint: str, concurrency: int, duration: float, rows: int) -> Results:
    results = Results()
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        features = await features_for(session, url, model, endpoint, rows)
        body = json.dumps({"features": features}).encode()
        started = time.monotonic()
        progress = asyncio.create_task(show_progress(started, duration, results))
        target = f"{url}/{endpoint}/{model}"
        until = started + duration
        await asyncio.gather(*(worker(session, target, repeat(body), until, results) for _ in range(concurrency)))
        progress.cancel()
    return results


def summary(results: Results, duration: float, rows: int) -> str:
    ordered = sorted(results.latencies)
    lines = ["statuses: " + ", ".join(f"{status} x {count}" for status, count in sorted(results.statuses.items()))]
    if ordered:
        throughput = len(ordered) / duration
        lines.append(f"throughput: {throughput:.0f} requests/s, {throughput * rows:.0f} rows/s")
        named = (f"p{percent} {percentile(ordered, percent) * 1e3:.1f}" for percent in _PERCENTILES)
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
        results = asyncio.run(run(url.rstrip("/"), model, endpoint, concurrency, duration, rows))
    except aiohttp.ClientError as error:
        raise click.ClickException(f"{url} does not answer: {error}") from error
    click.echo(summary(results, duration, rows))
    sys.exit(0 if results.latencies else 1)


if __name__ == "__main__":
    main()
