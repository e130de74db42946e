"""A model that does what the first value of a row says, and one that always answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import sample_models
from tests.support.servers.asking import Answer, ask
from tests.support.servers.server import Server

DIES, SLEEPS, LOOPS, LOOPS_IN_C, RAISES, LEAKS = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0

_CODE = """
import os
import time

kept = []


class Moody:
    def predict(self, X):
        for mood, value in X:
            if mood == -1:
                os._exit(3)
            if mood == -2:
                time.sleep(value)
            if mood == -3:
                while True:
                    pass
            if mood == -4:
                sum(range(10**15))  # one call in C: no other thread of the process runs
            if mood == -5:
                raise ValueError("no such thing in /secret/path")
            if mood == -6:
                kept.append(b"x" * int(value * 1024 * 1024))
        return X * 2
"""


def write(folder: Path, more: str = "", others: Sequence[str] = ()) -> Path:
    """`moody` and `calm`, and `others` that are as moody; `more` are keys of moody's config."""
    models = folder / "models"
    sample_models.python_model(models, "moody", "model:Moody", _CODE, "[-1, 2]", "float64", more)
    for name in ("calm", *others):
        sample_models.python_model(models, name, "model:Moody", _CODE, "[-1, 2]", "float64")
    return models


@contextmanager
def calm_goes_on(server: Server) -> Iterator[None]:
    """The other model answers all the while, on both endpoints."""
    over = threading.Event()
    wrong: list[Answer] = []

    def go_on() -> None:
        while not over.is_set():
            for endpoint in ("predict", "predict_batched"):
                answer = ask(server, "calm", [[1.0, 2.0]], endpoint)
                if answer.status != 200 or answer.body["predictions"] != [[2.0, 4.0]]:
                    wrong.append(answer)
            time.sleep(0.05)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert wrong == []
