"""`python -m tests.bench.clients`: what the load engine can do itself, beside wrk, against a server that does nothing.

The server answers 150 bytes to whatever comes, in a process of its own. Each client takes one core, in turn.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import click
import uvloop

from schwift.load.bench_server import BenchServer
from schwift.load.load_generator import LoadGenerator, LoadStep
from schwift.load.load_record import LoadRecord
from tests.bench.rig import wrk
from tests.bench.rig.results import Results, median

_CONNECTIONS = (1, 16, 64, 256)
_RATES = (1000.0, 10_000.0)
_ROUNDS = 3
_HEAD = ("connections", "engine req/s", "its p50, p99 ms", "wrk req/s", "its p50, p99 ms", "engine / wrk")
_BODY = {"features": [[5.1, 3.5, 1.4, 0.2]]}
_ANSWER = json.dumps({"model": "m", "predictions": [[0.1, 0.2, 0.7]], "padding": "x" * 89}).encode()
_PACKET = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_ANSWER) + _ANSWER


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_PACKET)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _load(url: str, step: LoadStep) -> LoadRecord:
    async def run() -> LoadRecord:
        target = BenchServer(url).target("/predict/m", [json.dumps(_BODY).encode()])
        load = LoadGenerator(target, step, LoadRecord())
        await load.run()
        return load.record

    return uvloop.run(run())


def _milliseconds(record: LoadRecord, percent: float) -> float:
    return record.latencies().percentile(percent) * 1e3


@click.command(help=__doc__)
@click.option("--seconds", default=2.0, show_default=True, help="How long a round takes.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(seconds: float, output: Path) -> None:
    results = Results()
    with subprocess.Popen([sys.executable, "-m", "tests.bench.clients", "serve"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        try:
            rows = [_closed(url, connections, seconds) for connections in _CONNECTIONS]
            results.table("Closed loop", _HEAD, rows)
            head = ("requests/s due", "sent", "p50, p99 ms", "sent late, p50, p99 ms")
            results.table("Open loop", head, [_open(url, rate, seconds) for rate in _RATES])
        finally:
            server.kill()
    results.finish(output, "clients")


def _closed(url: str, connections: int, seconds: float) -> list[str]:
    step = LoadStep(connections, duration=seconds, warmup=0.5)
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_load(url, step))
        theirs.append(wrk.run(f"{url}/predict/m", _BODY, connections, seconds))
    rate, other = median([record.throughput for record in ours]), median([item.per_second for item in theirs])
    p50, p99 = (median([_milliseconds(record, percent) for record in ours]) for percent in (50, 99))
    others = f"{median([item.p50 for item in theirs]):.2f}, {median([item.p99 for item in theirs]):.2f}"
    return [str(connections), f"{rate:.0f}", f"{p50:.2f}, {p99:.2f}", f"{other:.0f}", others, f"{rate / other:.2f}"]


def _open(url: str, rate: float, seconds: float) -> list[str]:
    record = _load(url, LoadStep(1000, rate=rate, duration=seconds, warmup=0.5))
    late = [record.lags.percentile(percent) * 1e3 for percent in (50, 99)]
    seen = [_milliseconds(record, percent) for percent in (50, 99)]
    pairs = [", ".join(f"{one:.2f}" for one in pair) for pair in (seen, late)]
    return [f"{rate:.0f}", f"{record.throughput:.0f}", *pairs]


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        uvloop.run(_serve())
    else:
        main()
