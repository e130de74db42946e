"""What the whole server costs in memory, process by process, and how long it takes to start."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.bench.rig import models
from tests.bench.rig.results import Bar, Results, median
from tests.support.servers.server import ROOT, launch, serving, stop

_MEMORY_MB = 500
_COLD_START_SECONDS = 10
_WARM_REQUESTS = 50
_URL = re.compile(rb"(http://127\.0\.0\.1:\d+)")


def memory(folder: Path, results: Results) -> None:
    """PSS of `schwift serve` and all below it with three models that have been asked."""
    written = folder / "models"
    models.write(written)
    for name in (models.SLEEP, models.SLOW):
        shutil.rmtree(written / name)
    with serving(written, folder) as server:
        for name in (models.LOGREG, models.FOREST, models.MLP):
            for endpoint in ("predict", "predict_batched"):
                for _ in range(_WARM_REQUESTS):
                    answer = server.post(endpoint, name, [models.row()])
                    if answer.status_code != 200:
                        raise SystemExit(f"error: {name}: {answer.text}")
        costs = {pid: pss_mb(pid) for pid in tree(server.process.pid)}
        rows = [[what(pid), f"{cost:.1f}"] for pid, cost in sorted(costs.items(), key=lambda item: -item[1])]
    total = sum(costs.values())
    results.table("Memory, three models", ("process", "PSS MB"), [*rows, ["all", f"{total:.1f}"]])
    results.bars.append(Bar("PSS MB of the whole tree, three models", total, _MEMORY_MB, False))
    results.raw["memory_mb"] = total


def cold_start(folder: Path, rounds: int, results: Results) -> None:
    """From `schwift serve` to the first 200, with the six examples, nothing built before."""
    seconds = [start(folder / str(i)) for i in range(rounds)]
    shown = ", ".join(f"{value:.1f}" for value in seconds)
    results.table("Cold start, six models", ("rounds, s", "median"), [[shown, f"{median(seconds):.1f}"]])
    results.bars.append(Bar("cold start to the first 200, s", median(seconds), _COLD_START_SECONDS, False))
    results.raw["cold_start_seconds"] = seconds


def start(folder: Path, python: str = sys.executable) -> float:
    """Start the six examples, with nothing built before, until each answers; the seconds that it took."""
    copy = folder / "models"
    shutil.copytree(ROOT / "models", copy, ignore=shutil.ignore_patterns("__pycache__"))
    started = time.monotonic()
    process, log = launch(copy, folder, python=python)
    try:
        while True:
            if process.poll() is not None or time.monotonic() > started + 120:
                raise SystemExit(f"error: it did not start:\n{log.read_text(errors='replace')}")
            # Its address is the last line, once all models are ready.
            said = log.read_bytes()
            found = _URL.search(said) if b"ready: " in said else None
            if found and _healthy(found[1].decode()):
                return time.monotonic() - started
            time.sleep(0.02)
    finally:
        stop(process)


def _healthy(url: str) -> bool:
    """Every model answers."""
    try:
        return bool(urllib.request.urlopen(f"{url}/health/ready", timeout=1).status == 200)
    except (OSError, urllib.error.URLError):
        return False


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) / 1024  # type: ignore[index]  # always there


def what(pid: int) -> str:
    """A process in words."""
    words = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    command = " ".join(words)
    if "triton_python_backend_stub" in words[0]:
        model = re.search(r"/(\w+)/\d+[/ ]", command)
        name = model[1] if model else next((Path(word).parent.name for word in words[1:] if "/" in word), "?")
        return f"stub of {name}"
    if words[0].endswith("tritonserver"):
        return "Triton"
    return "adapter" if "adapter" in words else "schwift serve"
