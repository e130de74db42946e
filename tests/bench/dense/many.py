"""A hundred packed models and a thousand lazy ones: when they are there, what they hold, and what they survive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from tests.bench.dense import costs, turns
from tests.bench.rig import wrk
from tests.bench.rig.results import Bar, Results
from tests.support.servers import pids
from tests.support.servers.server import Server, environment, serving, wait_for

_HUNDRED, _HUNDRED_MB, _HUNDRED_SECONDS = 100, 500, 12
_THOUSAND, _BUILD_SECONDS, _START_SECONDS, _THOUSAND_MB, _FIRST_MS = 1000, 40, 25, 1024, 150
_RELOAD_SECONDS, _BACK_SECONDS = 3, 3
_LOAD_CONNECTIONS = 16
# Sleeping models of the thousand that are asked for the first time.
_WOKEN = 200
_PACKED = {"SCHWIFT_PACK": "libraries"}
# Files younger than two seconds are looked into again by the next build: they may have changed unseen.
_SETTLED_SECONDS = 2.1


def hundred(folder: Path, results: Results) -> None:
    """Serve a hundred packed models; reload one under load, and kill their host."""
    names = turns.write_copies(folder / "models", _HUNDRED)
    time.sleep(_SETTLED_SECONDS)
    _build(folder)
    started = time.monotonic()
    with serving(folder / "models", folder, **_PACKED) as server:
        _wait_ready(server)
        seconds = time.monotonic() - started
        costs.ask_each(server, names)
        total = costs.show(f"Memory, {_HUNDRED} packed models", costs.sizes(server), results)
        reload_seconds, failed, asked = _reload_one(server, folder, names)
        back, wrong = _kill_host(server, names)
    rows = [
        ["ready after, s", f"{seconds:.1f}"],
        ["one reloaded, s", f"{reload_seconds:.1f}"],
        ["requests meanwhile, failed", f"{asked}, {failed}"],
        ["all answer again after kill -9 of the host, s", f"{back:.2f}"],
    ]
    results.table(f"{_HUNDRED} packed models", ("what", "measured"), rows)
    results.bars += [
        Bar(f"{_HUNDRED} packed models: PSS MB of everything", total, _HUNDRED_MB, False),
        Bar(f"{_HUNDRED} packed models: ready after, s", seconds, _HUNDRED_SECONDS, False),
        Bar("one of them reloaded under load, s", reload_seconds, _RELOAD_SECONDS, False),
        Bar("requests that failed meanwhile", failed, 0, False),
        Bar("kill -9 of the host: all answer again after, s", back, _BACK_SECONDS, False),
        Bar("wrong answers meanwhile", wrong, 0, False),
    ]


def thousand(folder: Path, results: Results) -> None:
    """Build and serve a thousand models that are loaded when they are asked."""
    names = turns.write_copies(folder / "models", _THOUSAND, load="lazy")
    time.sleep(_SETTLED_SECONDS)
    build_seconds = _build(folder)
    started = time.monotonic()
    with serving(folder / "models", folder, **_PACKED) as server:
        _wait_ready(server)
        seconds = time.monotonic() - started
        first = _wake(server, names[:: _THOUSAND // _WOKEN])
        total = costs.show(f"Memory, {_THOUSAND} lazy models", costs.sizes(server), results)
    p99 = sorted(first)[int(0.99 * len(first))]
    rows = [["build, s", f"{build_seconds:.1f}"], ["ready after, s", f"{seconds:.1f}"],
            ["first request of a sleeping one, ms: p50", f"{sorted(first)[len(first) // 2]:.1f}"],
            ["p99", f"{p99:.1f}"]]  # fmt: skip
    results.table(f"{_THOUSAND} lazy models", ("what", "measured"), rows)
    results.bars += [
        Bar(f"{_THOUSAND} lazy models: build, s", build_seconds, _BUILD_SECONDS, False),
        Bar(f"{_THOUSAND} lazy models: ready after, s", seconds, _START_SECONDS, False),
        Bar(f"{_THOUSAND} lazy models: PSS MB of everything", total, _THOUSAND_MB, False),
        Bar("first request of a sleeping one, p99, ms", p99, _FIRST_MS, False),
    ]


def _build(folder: Path) -> float:
    (folder / "tmp").mkdir(exist_ok=True)
    started = time.monotonic()
    _schwift(folder, "build-repo", "--models", str(folder / "models"))
    return time.monotonic() - started


def _schwift(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "schwift", *words],
        cwd=folder, env=environment(folder, _PACKED), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"error: schwift {' '.join(words)}:\n{done.stdout}{done.stderr}")


def _wait_ready(server: Server) -> None:
    wait_for(lambda: httpx.get(f"{server.url}/health/ready", timeout=30).status_code == 200, 120)


def _reload_one(server: Server, folder: Path, names: Sequence[str]) -> tuple[float, int, int]:
    """Give one model another file under load; return the seconds, and how many requests failed of how many."""
    target = turns.adapter(server, names)
    runs: list[wrk.Result] = []
    load = threading.Thread(
        target=lambda: runs.append(wrk.run(target.url, target.body, _LOAD_CONNECTIONS, 8, paths=target.paths))
    )
    load.start()
    time.sleep(1)
    config = folder / "models" / names[7] / "model_config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("model:\n", "model:\n  version: 2.0.0\n"))
    started = time.monotonic()
    _schwift(folder, "reload")
    seconds = time.monotonic() - started
    load.join()
    shown = {item["name"]: item for item in httpx.get(f"{server.url}/available_models").json()["models"]}
    if shown[names[7]]["version"] != "2.0.0":
        raise SystemExit(f"error: {shown[names[7]]} is served, and not version 2.0.0")
    [run] = runs
    return seconds, run.refused + run.broken, round(run.per_second * 8)


def _kill_host(server: Server, names: Sequence[str]) -> tuple[float, int]:
    """Kill the host while all models are asked; return when each answered again, and how many answers were wrong."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        right = {name: client.post(f"/predict/{name}", json={"features": [turns.ROW]}).content for name in names}
    asking = _Asking(server.url, right)
    with asking:
        time.sleep(0.5)
        killed = time.monotonic()
        for pid in pids.stubs(server, "default_pack_direct"):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all(began > killed for began in asking.answered.values()), 60, 0.01)
        back = time.monotonic() - killed
    return back, asking.wrong


class _Asking:
    """Asks models in turn over some connections, for the length of a block, and checks each answer.

    `answered` is when the last request of each model began that was answered.
    """

    def __init__(self, url: str, right: Mapping[str, bytes], connections: int = 4) -> None:
        self._url, self._right = url, right
        self.answered = dict.fromkeys(right, 0.0)
        self.wrong = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(connections)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, first: int) -> None:
        names = [*self._right][first :: len(self._threads)]
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._over.is_set():
                for name in names:
                    began = time.monotonic()
                    answer = client.post(f"/predict/{name}", json={"features": [turns.ROW]})
                    if answer.status_code == 200:
                        self.answered[name] = began
                        self.wrong += answer.content != self._right[name]


def _wake(server: Server, names: Sequence[str]) -> list[float]:
    """Ask models for the first time; return the milliseconds that each took."""
    found = []
    with httpx.Client(base_url=server.url, timeout=30) as client:
        client.get("/health/live")
        for name in names:
            started = time.perf_counter()
            answer = client.post(f"/predict/{name}", json={"features": [turns.ROW]})
            found.append(1e3 * (time.perf_counter() - started))
            if answer.status_code != 200:
                raise SystemExit(f"error: {name}: {answer.text}")
    return found


def clear(folder: Path) -> None:
    """Remove what a part wrote: a thousand models take room."""
    shutil.rmtree(folder, ignore_errors=True)
