"""A client that does not wait: requests leave when they are due, whatever became of those before, as users send them.

`python -m tests.bench.rig.openloop URL RATE WARM_SECONDS SECONDS TIMEOUT_MS` takes the body from standard input and
prints the fields of `Result` as JSON. It is a process of its own, so that nothing but its own work delays it, and says
by how much that did.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from tests.load_test import percentile

# Above MAX_CONCURRENT_REQUESTS: who is refused must not wait for a connection.
_CONNECTIONS = 3000
# Before the window that is measured: the regime is chosen.
WARM_SECONDS = 1.0
# What is still in flight at the end may take as long as its deadline.
_LAST_SECONDS = 20.0
_HEAD_END, _LENGTH, _CODE = b"\r\n\r\n", b"content-length: ", b'"code":"'


@dataclass(frozen=True)
class Result:
    """What was seen in a window of `seconds`: requests a second that were due, and that were answered with 200.

    Latencies, by code, are in milliseconds from when a request was due; `lag_p99` is how late requests left, the
    client's own delay. `counts` are all answers of the window. The others count the whole run: `lost` are connections
    that broke, `unsent` requests that found none, and `unanswered` those that waited in the end.
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

    What is seen in the first `warm_seconds` is not in the result, but for what was lost.
    """
    numbers = [str(number) for number in (rate, warm_seconds, seconds, timeout_ms)]
    command = [sys.executable, "-m", "tests.bench.rig.openloop", url, *numbers]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"error: the client failed: {done.stderr}")
    return Result(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """Kept alive, one request at a time."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._transport: asyncio.WriteTransport | None = None
        self._held = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one, and does not say so.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._load.idle.append(self)

    def send(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self.due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        head = data.find(_HEAD_END)
        length = data.find(_LENGTH)
        if head < 0 or len(data) < head + 4 + int(data[length + 16 : data.index(b"\r", length)]):
            self._held = data
            return
        self._held = b""
        code = "ok"
        if data[9:12] != b"200":
            start = data.index(_CODE, head) + len(_CODE)
            code = data[start : data.index(b'"', start)].decode()
        due, self.due = self.due, 0.0
        self._load.answered(due, code)
        self._load.idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.left(self)


class _Load:
    """One run. Times are those of the loop."""

    def __init__(self, request: bytes, host: str, port: int) -> None:
        self.idle: deque[_Connection] = deque()
        self.lost = self.unsent = self.in_flight = 0
        self._request = request
        self._address = host, port
        self._loop = asyncio.get_running_loop()
        self._lags: list[float] = []
        self._latencies: defaultdict[str, list[float]] = defaultdict(list)
        self._due: Counter[bool] = Counter()
        self._from = self._until = 0.0
        self._opening: set[asyncio.Task[Any]] = set()

    def answered(self, due: float, code: str) -> None:
        self.in_flight -= 1
        now = time.monotonic()
        if self._from <= now < self._until:
            self._latencies[code].append(now - due)

    def left(self, connection: _Connection) -> None:
        """The server closes connections that are idle for long; another takes the place."""
        if connection.due:
            self.lost += 1
            self.in_flight -= 1
        else:
            self.idle.remove(connection)
        if time.monotonic() < self._until:
            task = self._loop.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        await self._loop.create_connection(lambda: _Connection(self), *self._address)

    async def run(self, rate: float, warm_seconds: float, seconds: float) -> None:
        for _ in range(_CONNECTIONS):
            await self._open()
        began = time.monotonic()
        self._from = began + warm_seconds
        self._until = self._from + seconds
        for due in self._times(began, rate):
            now = time.monotonic()
            if due > now:
                await asyncio.sleep(due - now)
            self._send(due)
        ends = time.monotonic() + _LAST_SECONDS
        while self.in_flight and time.monotonic() < ends:
            await asyncio.sleep(0.05)

    def _times(self, began: float, rate: float) -> Iterator[float]:
        number = 0
        while (due := began + number / rate) < self._until:
            yield due
            number += 1

    def _send(self, due: float) -> None:
        if due >= self._from:
            self._due[True] += 1
            self._lags.append(time.monotonic() - due)
        if not self.idle:
            self.unsent += 1
            return
        self.in_flight += 1
        # The one that rested longest: none rests until the server closes it.
        self.idle.popleft().send(self._request, due)

    def result(self) -> Result:
        seconds = self._until - self._from
        ordered = {code: sorted(1e3 * value for value in values) for code, values in self._latencies.items()}
        return Result(
            seconds=seconds,
            offered=self._due[True] / seconds,
            goodput=len(ordered.get("ok", ())) / seconds,
            counts={code: len(values) for code, values in ordered.items()},
            p50={code: percentile(values, 50) for code, values in ordered.items()},
            p99={code: percentile(values, 99) for code, values in ordered.items()},
            worst={code: values[-1] for code, values in ordered.items()},
            lag_p99=1e3 * percentile(sorted(self._lags), 99),
            lost=self.lost,
            unsent=self.unsent,
            unanswered=self.in_flight,
        )


async def _main(url: str, body: bytes, rate: float, warm_seconds: float, seconds: float, timeout_ms: int) -> Result:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    deadline = f"X-Request-Timeout-Ms: {timeout_ms}\r\n" if timeout_ms else ""
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"{deadline}Content-Length: {len(body)}\r\n\r\n"
    )
    load = _Load(head.encode() + body, parts.hostname, parts.port)
    # Nothing here makes cycles, and a pause would be taken for one of the server.
    gc.disable()
    await load.run(rate, warm_seconds, seconds)
    return load.result()


if __name__ == "__main__":
    uvloop.install()
    address, rate_text, warm_text, seconds_text, timeout_text = sys.argv[1:]
    found = asyncio.run(
        _main(
            address, sys.stdin.buffer.read(), float(rate_text), float(warm_text), float(seconds_text), int(timeout_text)
        )
    )
    print(json.dumps(asdict(found)))
