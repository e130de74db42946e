"""A real Prometheus with the configuration of the repo, on a free port of this machine."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers.server import ROOT

CONFIG = ROOT / "deploy" / "prometheus"
_SECONDS = 30
# A selector of series: its name, its labels, and its range.
_SELECTOR = re.compile(r"\b(?:up|schwift[\w:]*|inference_\w+|nv_\w+)\b(?:\{[^}]*\})?")


@dataclass(frozen=True)
class Prometheus:
    url: str

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def targets(self, job: str) -> list[dict[str, Any]]:
        """Return what is scraped of a job, and how that went."""
        return [item for item in self.get("targets")["activeTargets"] if item["labels"]["job"] == job]

    def values(self, query: str) -> list[float]:
        """Return the value of each series of the query, now."""
        return [float(item["value"][1]) for item in self.get("query", query=query)["result"]]

    def wait_for(self, query: str, holds: Callable[[list[float]], Any] = bool) -> None:
        """Until what it returns is there, or what it should be."""
        until(lambda: holds(self.values(query)), f"this did not return what it should: {query}")


def selectors(query: str) -> set[str]:
    """Each series that a query reads."""
    return {found.group() for found in _SELECTOR.finditer(query)}


@contextlib.contextmanager
def scraping(folder: Path, target: str) -> Iterator[Prometheus]:
    """The repo's configuration, with `target` for the adapter and a second for each interval."""
    shutil.copytree(CONFIG, folder / "prometheus")
    config = folder / "prometheus" / "prometheus.yml"
    port = _free_port()
    text = config.read_text(encoding="utf-8")
    for old, new in (
        ("adapter:8005", target),
        ("localhost:9090", f"127.0.0.1:{port}"),
        ("_interval: 15s", "_interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    config.write_text(text, encoding="utf-8")
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        until(lambda: prometheus.get("targets"), "Prometheus did not start")
        yield prometheus
    finally:
        process.terminate()
        process.wait(_SECONDS)


def until(holds: Callable[[], Any], complaint: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        with contextlib.suppress(OSError):
            if holds():
                return
        assert time.monotonic() < deadline, complaint
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
