"""What a scrape of /metrics costs beside a thousand models, and how long others wait for it.

Once of models that nobody asked, which have no histograms, and once of models that were asked on both endpoints. The
adapter runs alone, with a repository and no Triton: its part of a scrape is the same.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from converter.schema.manifest import Manifest
from tests.bench.rig.results import Bar, Results, median
from tests.support.fakes.entries import make_entry
from tests.support.servers.ports import free_port
from tests.support.servers.server import environment, stop, wait_for

_MODELS = 1000
_SCRAPE_MS, _WAIT_MS = 300.0, 20.0


def measure(folder: Path, rounds: int, results: Results) -> None:
    """Scrape, and ask whether the process lives all the while."""
    rows = []
    with _adapter(folder) as client:
        for asked in ("never", "all, on both endpoints"):
            if asked != "never":
                _ask_all(client)
            size, scrapes, worst = _watch(client, 5 * rounds)
            rows.append([
                str(_MODELS), asked, f"{size:.1f}", f"{median(scrapes):.0f}", f"{max(scrapes):.0f}", f"{worst:.1f}"
            ])  # fmt: skip
            what = f"{_MODELS} models, asked: {asked}"
            results.bars.append(Bar(f"a scrape of {what}, ms", median(scrapes), _SCRAPE_MS, False))
            results.bars.append(Bar(f"the longest that others wait for it, {what}, ms", worst, _WAIT_MS, False))
    head = ("models", "asked", "kB a model", "scrape, ms: median", "worst", "worst wait of others, ms")
    results.table("A scrape of many models", head, rows)


def _ask_all(client: httpx.Client) -> None:
    """Ask every model once on each endpoint; without Triton the answer is a 503, which is counted."""
    for number in range(_MODELS):
        for endpoint in ("predict", "predict_batched"):
            answer = client.post(f"/{endpoint}/model_{number}", json={"features": [[1.0, 2.0, 3.0, 4.0]]})
            assert answer.status_code == 503, answer.text


def _watch(client: httpx.Client, times: int) -> tuple[float, list[float], float]:
    """Scrape so many times; return the kB a model, how many ms each scrape took, and the longest wait of others."""
    size = len(client.get("/metrics").content) / _MODELS / 1e3
    waits, over = [0.0], threading.Event()
    other = threading.Thread(target=_ask, args=(str(client.base_url), waits, over))
    other.start()
    # By another process: what it does with the answer is not to keep us from asking.
    scrapes = [_scrape(f"{client.base_url}/metrics") for _ in range(times)]
    over.set()
    other.join()
    return size, scrapes, max(waits)


@contextmanager
def _adapter(folder: Path) -> Iterator[httpx.Client]:
    (folder / "model_repository").mkdir(parents=True)
    (folder / "tmp").mkdir()
    manifest = Manifest(models=tuple(make_entry(f"model_{number}") for number in range(_MODELS)))
    (folder / "model_repository" / "schwift.json").write_bytes(manifest.to_json())
    log = folder / "adapter.log"
    with log.open("wb") as file:
        port = str(free_port())
        # Port 1 of this machine refuses.
        triton = {"SCHWIFT_TRITON_HTTP": "127.0.0.1:1", "SCHWIFT_TRITON_GRPC": "127.0.0.1:1"}
        settings = environment(folder, {"PORT": port, **triton})
        process = subprocess.Popen([sys.executable, "-m", "adapter"], cwd=folder, env=settings, stderr=file)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_for(lambda: _lives(client))
            yield client
    finally:
        stop(process)


def _lives(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def _ask(url: str, waits: list[float], over: threading.Event) -> None:
    with httpx.Client(base_url=url) as client:
        client.get("/health/live")
        while not over.is_set():
            waits.append(_milliseconds(client, "/health/live"))


def _scrape(url: str) -> float:
    """Return how many milliseconds it took."""
    command = ["curl", "--fail", "--silent", "--output", "/dev/null", "--write-out", "%{time_total}", url]
    return 1e3 * float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _milliseconds(client: httpx.Client, path: str) -> float:
    started = time.perf_counter()
    client.get(path).raise_for_status()
    return 1e3 * (time.perf_counter() - started)
