"""A client that does not wait: requests leave when they are due, whatever became of those before, as users send them.

`python -m tests.bench.rig.openloop URL RATE WARM_SECONDS SECONDS TIMEOUT_MS` takes the body from standard input and
prints the fields of `Result` as JSON. It is a process of its own, so that nothing but its own work delays it, and says
by how much that did. The engine is that of `schwift bench`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

from schwift.load.bench_server import BenchServer, allow_connections
from schwift.load.latency_histogram import LatencyHistogram
from schwift.load.load_generator import LoadGenerator, LoadStep
from schwift.load.load_record import CLOSED, NO_CONNECTION, NO_HTTP, TIMEOUT, UNSENT, LoadRecord, is_good

# Above MAX_CONCURRENT_REQUESTS: who is refused must not wait for a connection.
_CONNECTIONS = 3000
# Before the window that is measured: the regime is chosen.
WARM_SECONDS = 1.0
# What is still in flight at the end may take as long as its deadline.
_LAST_SECONDS = 20.0


@dataclass(frozen=True)
class Result:
    """What was seen in a window of `seconds`: requests a second that were due, and that were answered with 200.

    Latencies, by code, are in milliseconds from when a request was due; `lag_p99` is how late requests left, the
    client's own delay. `counts` are all answers to what was due in the window. The rest is `lost` where its connection
    broke, `unsent` where it found none, and `unanswered` where it waited in the end.
    """

    seconds: float
    offered: float
    goodput: float
    counts: dict[str, int]
    p50: dict[str, float]
    p99: dict[str, float]
    worst: dict[str, float]
    lag_p99: float
    lost: int
    unsent: int
    unanswered: int


def run(
    url: str, body: Any, rate: float, seconds: float, timeout_ms: int = 0, warm_seconds: float = WARM_SECONDS
) -> Result:
    """Load `url` with so many POSTs of `body` a second; `timeout_ms` is the clients' own deadline, if any.

    What is due in the first `warm_seconds` is not in the result.
    """
    numbers = [str(number) for number in (rate, warm_seconds, seconds, timeout_ms)]
    command = [sys.executable, "-m", "tests.bench.rig.openloop", url, *numbers]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: the client failed: {done.stderr}")
    return Result(**json.loads(done.stdout))


def to_result(record: LoadRecord) -> Result:
    """Say what was seen. An answer without a code has its status for one."""
    counts = record.counts()
    answers: defaultdict[str, LatencyHistogram] = defaultdict(LatencyHistogram)
    for outcome, latencies in record.outcomes.items():
        if outcome[:1].isdigit():
            # Several statuses may have one code.
            answers["ok" if is_good(outcome) else outcome.partition(" ")[2] or outcome].add(latencies)

    def percentiles(percent: float) -> dict[str, float]:
        return {code: 1e3 * latencies.percentile(percent) for code, latencies in answers.items()}

    return Result(
        seconds=record.length,
        offered=sum(counts.values()) / record.length,
        goodput=record.throughput,
        counts={code: latencies.count for code, latencies in answers.items()},
        p50=percentiles(50),
        p99=percentiles(99),
        worst=percentiles(100),
        lag_p99=1e3 * record.lags.percentile(99),
        lost=counts.get(CLOSED, 0) + counts.get(NO_HTTP, 0),
        unsent=counts.get(UNSENT, 0) + counts.get(NO_CONNECTION, 0),
        unanswered=counts.get(TIMEOUT, 0),
    )


async def _main(url: str, body: bytes, rate: float, warm_seconds: float, seconds: float, timeout_ms: int) -> Result:
    allow_connections(_CONNECTIONS)
    parts = urlsplit(url)
    headers = {"X-Request-Timeout-Ms": str(timeout_ms)} if timeout_ms else {}
    target = BenchServer(f"{parts.scheme}://{parts.netloc}").target(parts.path, [body], headers)
    step = LoadStep(_CONNECTIONS, rate=rate, duration=seconds, warmup=warm_seconds, timeout=_LAST_SECONDS)
    load = LoadGenerator(target, step, LoadRecord())
    await load.run()
    return to_result(load.record)


if __name__ == "__main__":
    address, rate_text, warm_text, seconds_text, timeout_text = sys.argv[1:]
    found = uvloop.run(
        _main(
            address, sys.stdin.buffer.read(), float(rate_text), float(warm_text), float(seconds_text), int(timeout_text)
        )
    )
    print(json.dumps(asdict(found)))
