"""Several adapter processes on one port: one server to whoever asks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.server import Server, serving
from triton_repo_template.runtime.host.time_slice import SHORT_SECONDS, read_time_slice

WORKERS = 3
SLOW = """
import os
import time


class Slow:
    def predict(self, X):
        if X[0, 0] < 0:
            os._exit(1)
        time.sleep(float(X[0, 0]))
        return X
"""
# The end of an X-Request-Id: what is before it is the worker's own.
_NUMBER_DIGITS = 8


def models_in(folder: Path) -> Path:
    models = folder / "models"
    for name in ("slow", "other"):
        sample_models.python_model(models, name, "model:Slow", SLOW, "[-1, 1]", "float32")
    return models


def worker_of(answer: httpx.Response) -> str:
    return answer.headers["x-request-id"][:-_NUMBER_DIGITS]


def ask(server: Server, seconds: float = 0.0, model: str = "slow") -> httpx.Response:
    return server.post("predict", model, [[seconds]])


def workers_seen(server: Server) -> set[str]:
    """Which of them answer; a new connection goes to any of them, so ask often."""
    with ThreadPoolExecutor(16) as pool:
        return {worker_of(answer) for answer in pool.map(lambda _: ask(server, 0.02), range(96))}


def worker_pids(server: Server) -> list[int]:
    """The adapter's children: processes whose parent runs `-m adapter` too."""
    adapters = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                command = (path / "cmdline").read_bytes()
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                ours = str(server.repository).encode() in (path / "environ").read_bytes()
            except OSError:
                continue
            if ours and command.rstrip(b"\0").endswith(b"-m\0adapter"):
                adapters[int(path.name)] = parent
    return [pid for pid, parent in adapters.items() if parent in adapters]


def counted(server: Server, metric: str, labels: str = "") -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(metric + "{") and labels in line)


def wait_for(what: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def statuses(server: Server, count: int, seconds: float, **options: Any) -> list[int]:
    with ThreadPoolExecutor(count) as pool:
        return [answer.status_code for answer in pool.map(lambda _: ask(server, seconds, **options), range(count))]


def test_workers_are_one_server(tmp_path: Path) -> None:
    settings = {"SCHWIFT_WORKERS": str(WORKERS), "MAX_CONCURRENT_REQUESTS": "8"}
    with serving(models_in(tmp_path), tmp_path, **settings) as server:
        assert len(worker_pids(server)) == WORKERS
        # Whoever hands requests on need not wait for who computes; 0 of a kernel that has no slices.
        slices = {read_time_slice(pid) for pid in (pids.triton(server), *worker_pids(server), *pids.stubs(server))}
        assert slices <= {SHORT_SECONDS, 0.0} and len(slices) == 1
        seen: set[str] = set()
        wait_for(lambda: len(seen.update(workers_seen(server)) or seen) == WORKERS)  # type: ignore[func-returns-value]

        # The bound is that of all together: with eight places, 24 slow requests at once get eight.
        wait_for(lambda: counted(server, "schwift_in_flight") == 0)
        before = counted(server, "inference_requests_total", 'model_name="slow"')
        # Slow enough that all have come before the first is answered.
        got = statuses(server, 24, 2.0)
        assert (got.count(200), got.count(503)) == (8, 16)
        # The metrics are those of all together, whoever is asked.
        for _ in range(2 * WORKERS):
            assert counted(server, "inference_requests_total", 'model_name="slow"') == before + 24

        # A worker that dies is replaced, and its place in the bound is free again.
        killed = worker_pids(server)[0]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(worker_pids(server)) == WORKERS and killed not in worker_pids(server))
        wait_for(lambda: server_is_ready(server))
        wait_for(lambda: sorted(statuses(server, 24, 1.0)).count(200) == 8)

        # Whoever sees a dead process tells all, the one that leads loads it again, and all hear of it.
        assert ask(server, -1.0).status_code == 503
        wait_for(lambda: counted(server, "schwift_model_recoveries_total", 'model_name="slow"') == 1)
        wait_for(lambda: statuses(server, 8, 0.0) == [200] * 8)
        assert statuses(server, 8, 0.0, model="other") == [200] * 8


def server_is_ready(server: Server) -> bool:
    return httpx.get(f"{server.url}/health/ready").status_code == 200


def test_the_quota_of_a_client_is_one_for_all_workers(tmp_path: Path) -> None:
    settings = {"SCHWIFT_WORKERS": "2", "MAX_REQUESTS": "20", "REQUESTS_PERIOD_SECONDS": "3600"}
    with serving(models_in(tmp_path), tmp_path, **settings) as server:
        got = statuses(server, 60, 0.0)
        assert (got.count(200), got.count(429)) == (20, 40)


def test_all_workers_end_with_the_server(tmp_path: Path) -> None:
    """Under load, with a request in flight that is answered."""
    with serving(models_in(tmp_path), tmp_path, SCHWIFT_WORKERS="2") as server:
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(ask(server, 2.0)))
        thread.start()
        wait_for(lambda: counted(server, "schwift_in_flight") == 1 or answers)
        pids = worker_pids(server)
        server.process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert [answer.status_code for answer in answers] == [200]
        assert server.process.wait(20) == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
