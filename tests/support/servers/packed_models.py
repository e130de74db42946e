"""Models of known libraries' code alone, which packs take, and that can be made to fail, to hang and to differ."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.support.models.sample_models import model_yaml
from tests.support.servers import pids
from tests.support.servers.asking import Answer, ask
from tests.support.servers.server import Server, wait_for

TIMES, OTHER, WORDS, PICKY = "times", "other", "words", "picky"
PACKED = {"SCHWIFT_PACK": "libraries"}
HOST = "default_pack_direct"
# A word's pattern that needs twice as long for each more letter of a text that does not match it.
_EVIL = r"(?:a+)+b"
# It takes some seconds for the first, and for ever for the second.
SLOW_TEXT, ENDLESS_TEXT = "a" * 26 + "c", "a" * 60 + "c"
WELL_TEXT = "ab good"


def put_times(models: Path, factor: float, name: str = TIMES, **keys: Any) -> None:
    """Write a model that multiplies both its features by a factor."""
    model = LinearRegression().fit(np.eye(2), factor * np.eye(2))
    # To the last bit.
    model.coef_, model.intercept_ = factor * np.eye(2), np.zeros(2)
    _put(models, name, model, {"shape": [-1, 2], "dtype": "float64"}, {"shape": [-1, 2], "dtype": "float64"}, keys)


def put_words(models: Path, **keys: Any) -> None:
    """Write a model of texts, one of which it never ends with."""
    texts = ["aab ab b", "b c", "ab", "c d e"]
    model = make_pipeline(CountVectorizer(token_pattern=_EVIL), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    keys = {"warmup": False, **keys}
    _put(models, WORDS, model, {"shape": [-1], "dtype": "string"}, {"shape": [-1, 1], "dtype": "int64"}, keys)


def put_picky(models: Path, **keys: Any) -> None:
    """Write a model that raises on anything but 1, 2 and 3, and that answers with their squares."""
    numbers = np.array([[1.0], [2.0], [3.0]])
    model = make_pipeline(OneHotEncoder(), LinearRegression(fit_intercept=False)).fit(numbers, numbers[:, 0] ** 2)
    keys = {"warmup": False, **keys}
    _put(models, PICKY, model, {"shape": [-1, 1], "dtype": "float64"}, {"shape": [-1, 1], "dtype": "float64"}, keys)


def put_all(folder: Path) -> Path:
    """Write all of them, and one more that multiplies, by 5; return their folder."""
    models = folder / "models"
    put_times(models, 3)
    put_times(models, 5, OTHER)
    put_words(models)
    put_picky(models)
    return models


@contextlib.contextmanager
def in_host(server: Server, text: str) -> Iterator[list[Answer]]:
    """For the length of a block, and until it is answered, the model of texts is asked one in its host."""
    answers: list[Answer] = []
    entered = threading.Event()

    def keep_asking() -> None:
        # A host that has just come back may refuse the first.
        while not answers or not entered.is_set():
            answers[:] = [ask(server, WORDS, [text])]

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        wait_for(lambda: is_in(server, WORDS), 40)
        entered.set()
        yield answers
    finally:
        entered.set()
        asking.join()


def is_in(server: Server, name: str) -> bool:
    """Whether a process of the server's notes that it is in a call of this model, or loads it."""
    for pid in pids.stubs(server):
        # It may end meanwhile, or have no note.
        with contextlib.suppress(OSError, IndexError):
            folder = Path(f"/proc/{pid}/environ").read_bytes().split(b"SCHWIFT_NOTES=")[1].split(b"\0")[0]
            note = Path(os.fsdecode(folder), str(pid)).read_bytes()
            if any(note[:8]) and name.encode() in note[8:256]:
                return True
    return False


def _put(models: Path, name: str, model: Any, given: Any, answered: Any, keys: dict[str, Any]) -> None:
    folder = models / name
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "new.joblib")
    (folder / "new.joblib").replace(folder / "m.joblib")
    tensors = {"input": {"type": "array", **given}, "output": {"type": "array", **answered}}
    text = model_yaml("sklearn", name=name, **tensors, **keys)
    (folder / "model_config.yaml").write_text(text, encoding="utf-8")
