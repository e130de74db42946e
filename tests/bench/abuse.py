"""`make bench-abuse`: what good requests see beside 16 abusive connections, and what those leave behind.

Good requests come 50 a second, whatever became of those before, and every answer is checked. They are measured alone
and beside the abuse in turn; the 99th percentile beside it, the median of the rounds, may be twice that alone. After
10,000 abusive requests in all, the adapter may have grown by 10 MiB, and /dev/shm is as before. Writes abuse.md and
abuse.json; exit code 1 where a bar is missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click
import joblib
import numpy as np

from tests.bench.rig.abusers import MODEL
from tests.bench.rig.results import Bar, Results, median
from tests.support.servers import pids
from tests.support.servers.server import ROOT, Server, serving, shared_memory, stop_on_sigterm

_RATE = 50.0
_CONNECTIONS = 16
_LEAST = 10_000
_SLOWER, _GROWTH_MB = 2.0, 10.0
_WARM_SECONDS = 3.0
# After the last of them: buffers are given back, connections closed.
_SETTLE_SECONDS = 10.0
_REQUEST_SECONDS = 20.0
# Answers to what nobody should send; whatever else came is shown, and these must not come.
_FAULTS = ("500", "502", "504", "silent")


@dataclass
class Good:
    """The good requests of a while: milliseconds from when each was due, and what was wrong."""

    milliseconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        if not self.milliseconds:
            return float("inf")
        return float(np.percentile(self.milliseconds, 99, method="inverted_cdf"))


class _Asker:
    """Sends rows and knows their answers: those of the original model."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        rows = np.random.default_rng(1).uniform(0, 8, (64, 4)).round(2)
        self._wanted = joblib.load(ROOT / "models" / MODEL / "model.joblib").predict_proba(rows)
        self._rows = rows.tolist()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def run(self, seconds: float) -> Good:
        good, tasks, began = Good(), [], time.monotonic()
        for number in range(int(seconds * _RATE)):
            due = began + number / _RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.append(asyncio.create_task(self._ask(number % len(self._rows), due, good)))
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()
        return good

    async def _ask(self, number: int, due: float, good: Good) -> None:
        try:
            await asyncio.wait_for(self._exchange(number, good), _REQUEST_SECONDS)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            good.wrong.append(repr(error))
        good.milliseconds.append(1e3 * (time.monotonic() - due))

    async def _exchange(self, number: int, good: Good) -> None:
        body = json.dumps({"features": [self._rows[number]]}).encode()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        head = f"POST /predict/{MODEL} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        if answer[9:12] != b"200":
            good.wrong.append(f"{answer[9:12]!r} {content[:200]!r}")
        elif not np.allclose(json.loads(content)["predictions"], [self._wanted[number]], rtol=1e-9):
            good.wrong.append(f"row {number} was answered {content[:200]!r}")
        self._idle.append((reader, writer))


@contextlib.contextmanager
def _abusers(url: str, seconds: float, seen: dict[str, Counter[str]], least: int = 0) -> Iterator[None]:
    """Abuse beside a block, and until it is over; what was answered is added to `seen`."""
    numbers = [str(_CONNECTIONS), str(seconds), str(least)]
    command = [sys.executable, "-m", "tests.bench.rig.abusers", url, *numbers]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield
        output, _ = process.communicate()
    finally:
        process.kill()
    if process.returncode != 0:
        raise SystemExit("error: the abusive clients failed")
    for kind, found in json.loads(output).items():
        seen.setdefault(kind, Counter()).update(found)


@click.command(help=__doc__)
@click.option("--seconds", default=30.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="Medians are of so many.")
@click.option("--least", default=_LEAST, show_default=True, help="Abusive requests in all.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
def main(seconds: float, rounds: int, least: int, output: Path) -> None:
    stop_on_sigterm()
    results = Results()
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "models" / MODEL, folder / "models" / MODEL)
        with serving(folder / "models", folder) as server:
            _measure(server, seconds, rounds, least, results)
    results.finish(output, "abuse")
    sys.exit(0 if results.met else 1)


def _measure(server: Server, seconds: float, rounds: int, least: int, results: Results) -> None:
    asker = _Asker(server.url)
    asyncio.run(asker.run(_WARM_SECONDS))
    adapter, folder = pids.adapter(server), server.log.parent
    resident, segments = pids.resident(adapter), sorted(shared_memory(folder))
    alone, beside, seen = [], [], dict[str, Counter[str]]()
    for _ in range(rounds):
        alone.append(asyncio.run(asker.run(seconds)))
        with _abusers(server.url, seconds, seen):
            beside.append(asyncio.run(asker.run(seconds)))
    with _abusers(server.url, 0, seen, max(0, least - _count(seen))):
        pass
    time.sleep(_SETTLE_SECONDS)
    if pids.adapter(server) != adapter:
        raise SystemExit("error: the adapter ended, and another took its place")
    grown, kept = (pids.resident(adapter) - resident) / 2**20, sorted(shared_memory(folder)) != segments
    _show(alone, beside, seen, results)
    results.bars += [
        Bar("p99 beside the abuse / alone", _p99(beside) / _p99(alone), _SLOWER, False),
        Bar("good requests that were not answered right", sum(len(part.wrong) for part in alone + beside), 0, False),
        Bar("abusive requests answered 500, 502, 504 or not at all", _faults(seen), 0, False),
        Bar(f"MiB that the adapter grew by, after {_count(seen)} abusive requests", grown, _GROWTH_MB, False),
        Bar("/dev/shm is not as before", float(kept), 0, False),
    ]


def _show(alone: list[Good], beside: list[Good], seen: Mapping[str, Counter[str]], results: Results) -> None:
    rows = [
        [what, ", ".join(f"{part.p99:.1f}" for part in parts), f"{_p99(parts):.1f}"]
        for what, parts in (("alone", alone), ("beside the abuse", beside))
    ]
    results.table(f"{_RATE:.0f} good requests a second", ("", "p99 of each round, ms", "median"), rows)
    answered = [
        [kind, str(found.total()), ", ".join(f"{what}: {count}" for what, count in found.most_common())]
        for kind, found in seen.items()
    ]
    results.table(f"{_CONNECTIONS} abusive connections", ("kind", "requests", "answered"), answered)
    for wrong in [wrong for part in beside for wrong in part.wrong][:5]:
        print(f"wrong: {wrong}")
    results.raw |= {"alone": [part.p99 for part in alone], "beside": [part.p99 for part in beside], "seen": seen}


def _p99(parts: list[Good]) -> float:
    return median([part.p99 for part in parts])


def _count(seen: Mapping[str, Counter[str]]) -> int:
    return sum(found.total() for found in seen.values())


def _faults(seen: Mapping[str, Counter[str]]) -> int:
    return sum(found[what] for found in seen.values() for what in _FAULTS)


if __name__ == "__main__":
    main()
