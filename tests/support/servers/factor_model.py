"""A model that multiplies by a factor, changed while it is served: every answer tells which version made it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e import sample_models
from tests.support.servers.server import Server, environment, wait_for

CODE = '''
"""A model that multiplies by {factor}."""
import os
import time


class Times:
    def __init__(self):
        {at_load}

    def predict(self, X):
        {at_call}
        return X * {factor}
'''


# Between two requests of a client: 8 of them ask some 300 times a second.
_PAUSE_SECONDS = 0.02


def put(models: Path, factor: int, name: str = "times", shape: str = "[-1, 2]", more: str = "", **code: str) -> None:
    """Write the model, as its author would change it."""
    folder = models / name
    text = CODE.format(**{"factor": factor, "at_load": "pass", "at_call": "pass", **code})
    if folder.exists():
        (folder / "model.py").write_text(text, encoding="utf-8")
    else:
        sample_models.python_model(models, name, "model:Times", text, shape, "float64", more)


def write_sample(models: Path, factor: int) -> None:
    """Put a sample beside the model: what one with this factor answers."""
    rows = [[1.0, 1.0], [2.0, 3.0]]
    answers = [[factor * value for value in row] for row in rows]
    (models / "times" / "sample.json").write_text(json.dumps({"features": rows, "predictions": answers}))


def schwift(server: Server, models: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    options = ["--models", str(models)] if arguments[0] == "reload" else []
    return subprocess.run(
        [sys.executable, "-m", "schwift", *arguments, *options],
        cwd=models.parent, env=environment(models.parent, settings), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def answer(server: Server, name: str = "times", endpoint: str = "predict") -> Any:
    """What the served version makes of 1.0, or the status."""
    response = server.post(endpoint, name, [[1.0, 1.0]])
    return response.json()["predictions"][0][0] if response.status_code == 200 else response.status_code


class Load:
    """Clients that leave a reload its share of the cores, and see a gap of milliseconds.

    `answers` counts what each endpoint made of 1.0; anything but a 200 is its text.
    """

    def __init__(self, server: Server, clients: int = 8) -> None:
        self.answers: Counter[Any] = Counter()
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def _ask(self, number: int) -> None:
        endpoint = ("predict", "predict_batched")[number % 2]
        with httpx.Client(timeout=30) as client:
            while not self._over.is_set():
                response = client.post(f"{self._server.url}/{endpoint}/times", json={"features": [[1.0, 1.0]]})
                good = response.status_code == 200
                self.answers[response.json()["predictions"][0][0] if good else response.text] += 1
                time.sleep(_PAUSE_SECONDS)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def loaded(server: Server) -> Iterator[Load]:
    """Load for the length of a block, which begins when the first ones were answered."""
    load = Load(server)
    load.start()
    try:
        wait_for(lambda: load.answers)
        yield load
    finally:
        load.stop()
