"""The models under chaos. Each can tell whether an answer is that of its row, and of no other."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_iris

from tests.bench.rig import models as trained
from tests.e2e import sample_models

# A row's numbers → whether they are right.
Right = Callable[[Sequence[float]], bool]
Row = Sequence[float]

TIMES, TWICE = "times", "twice"
_CODE = '''
"""Multiplies, and takes as long as a file says."""
import time
from pathlib import Path

SECONDS = Path({file})


class Times:
    def __init__(self):
        {at_load}

    def predict(self, X):
        seconds = float(SECONDS.read_text())
        if seconds:
            time.sleep(seconds)
        return X * {factor}
'''
# Rows for a trained model; each one's answer is further from every other one's than rounding takes it.
_ROWS = 400
_APART = 1e-4
_ROUNDING = 1e-5


class Subject(Protocol):
    @property
    def name(self) -> str: ...

    def question(self) -> tuple[Row, Right]:
        """A row, and the test of its answer. To be called when the request is sent."""


class Multiplier:
    """A Python model whose author changes its factor. `slow` makes it so on purpose, whatever version is served."""

    def __init__(self, models: Path, name: str, factor: int) -> None:
        self.name = name
        self.folder = models / name
        self.factor = factor
        # While a version takes the other's place, either may answer.
        self._newest = factor
        self._numbers = itertools.count(1)
        self._seconds = models.parent / f"{name}.seconds"
        self.slow(0.0)
        sample_models.python_model(models, name, "model:Times", self._code(factor), "[-1, 2]", "float64")

    def slow(self, seconds: float) -> None:
        """Every call takes so long from now on."""
        fresh = self._seconds.with_suffix(".new")
        fresh.write_text(str(seconds), encoding="utf-8")
        fresh.replace(self._seconds)

    def write(self, factor: int, at_load: str = "pass") -> None:
        """A new version, which is not to answer before it is `expected`."""
        (self.folder / "model.py").write_text(self._code(factor, at_load), encoding="utf-8")

    def expect(self, factor: int) -> None:
        """This version may answer from now on, beside the one before it."""
        self._newest = factor

    def settle(self) -> None:
        """Who asks from now on is answered by the newest version alone."""
        self.factor = self._newest

    def question(self) -> tuple[Row, Right]:
        number, oldest = float(next(self._numbers)), self.factor

        def right(answer: Sequence[float]) -> bool:
            return any(list(answer) == [number * by, -number * by] for by in range(oldest, self._newest + 1))

        return (number, -number), right

    def _code(self, factor: int, at_load: str = "pass") -> str:
        return _CODE.format(file=json.dumps(str(self._seconds)), factor=factor, at_load=at_load)


class Trained:
    """A trained model, asked for rows near its data whose answers are known beforehand."""

    def __init__(self, model: trained.BenchModel, generator: np.random.Generator) -> None:
        self.name = model.name
        data = load_iris().data.astype(np.float32)
        rows = data[generator.integers(0, len(data), 4 * _ROWS)]
        rows = (rows + generator.normal(0, 0.3, rows.shape)).astype(np.float32)
        answers = model.load()(rows)
        kept = _apart(answers)[:_ROWS]
        self._known = [(rows[at].tolist(), answers[at].tolist()) for at in kept]
        self._order = itertools.cycle(self._known)

    def question(self) -> tuple[Row, Right]:
        row, wanted = next(self._order)

        def right(answer: Sequence[float]) -> bool:
            return len(answer) == len(wanted) and all(map(_close, answer, wanted))

        return row, right


def write(models: Path, seed: int) -> tuple[Multiplier, list[Subject]]:
    """Write four models into `models`: the one that is changed and slowed, and all of them."""
    generator = np.random.default_rng(seed)
    known = {model.name: model for model in trained.write(models)}
    for name in set(known) - {trained.LOGREG, trained.MLP}:
        shutil.rmtree(models / name)
    times = Multiplier(models, TIMES, 3)
    subjects: list[Subject] = [times, Multiplier(models, TWICE, 2)]
    subjects += [Trained(known[name], generator) for name in (trained.LOGREG, trained.MLP)]
    return times, subjects


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=_ROUNDING)


def _apart(answers: npt.NDArray[Any]) -> list[int]:
    """The places of answers that differ from every one kept before."""

    def far(at: int, kept: list[int]) -> bool:
        return not kept or bool(np.abs(answers[kept] - answers[at]).max(axis=1).min() > _APART)

    kept: list[int] = []
    for at in range(len(answers)):
        if far(at, kept):
            kept.append(at)
    return kept


def bodies(subject: Subject, begin: Callable[[Right], None], over: Callable[[], bool]) -> Iterator[bytes]:
    """Requests of one client, one row each, until it is over; `begin` hears how each will be judged."""
    while not over():
        row, right = subject.question()
        begin(right)
        yield json.dumps({"features": [row]}).encode()
