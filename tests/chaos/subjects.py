"""The models under chaos. Each can tell whether an answer is that of its row, and of no other."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_iris

from tests.bench.rig import models as trained
from tests.e2e import sample_models
from tests.support.servers import packed_models

# A row's numbers → whether they are right.
Right = Callable[[Sequence[float]], bool]
Row = Sequence[float] | str

TIMES, TWICE = "times", "twice"
# As scikit-learn's splitting of texts has them.
_WORDS = ("ab", "aab", "b", "cab", "d", "e")
_CODE = '''
"""Multiplies, and takes as long as a file says. Renewed {number} times."""
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
_OF_A_PACK = ("preferred_batch_size", "max_batch_delay_ms", "rush_batch_size")


class Subject(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def packed(self) -> bool:
        """Whether it is built into a pack."""

    def question(self) -> tuple[Row, Right]:
        """A row, and the test of its answer. To be called when the request is sent."""


class Multiplier(ABC):
    """A model whose author changes its factor."""

    packed: bool
    # What a reload says of a version that `write_broken` wrote.
    said_of_broken: str

    def __init__(self, models: Path, name: str, factor: int) -> None:
        self.name = name
        self.folder = models / name
        self.factor = factor
        # While a version takes the other's place, either may answer.
        self._newest = factor
        self._numbers = itertools.count(1)

    @abstractmethod
    def write(self, factor: int) -> None:
        """A new version, which is not to answer before it is `expected`."""

    @abstractmethod
    def write_broken(self) -> None:
        """A version that is never to answer, since it does not load."""

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


class PythonMultiplier(Multiplier):
    """One in Python. `slow` makes it so on purpose, whatever version is served."""

    packed = False
    said_of_broken = "does not load"

    def __init__(self, models: Path, name: str, factor: int) -> None:
        super().__init__(models, name, factor)
        self._seconds = models.parent / f"{name}.seconds"
        self._renewed = 0
        self.slow(0.0)
        sample_models.python_model(models, name, "model:Times", self._code(factor), "[-1, 2]", "float64")

    def slow(self, seconds: float) -> None:
        """Every call takes so long from now on."""
        fresh = self._seconds.with_suffix(".new")
        fresh.write_text(str(seconds), encoding="utf-8")
        fresh.replace(self._seconds)

    def write(self, factor: int) -> None:
        (self.folder / "model.py").write_text(self._code(factor), encoding="utf-8")

    def renew(self) -> None:
        """A new version that answers as this one does."""
        self._renewed += 1
        self.write(self.factor)

    def write_broken(self) -> None:
        text = self._code(-1, "raise ValueError('no such file')")
        (self.folder / "model.py").write_text(text, encoding="utf-8")

    def _code(self, factor: int, at_load: str = "pass") -> str:
        file = json.dumps(str(self._seconds))
        return _CODE.format(file=file, factor=factor, at_load=at_load, number=self._renewed)


class PackedMultiplier(Multiplier):
    """One of scikit-learn, which packs take."""

    packed = True
    said_of_broken = "its answers are not those of its sample.json"

    def __init__(self, models: Path, name: str, factor: int) -> None:
        super().__init__(models, name, factor)
        self.write(factor)

    def write(self, factor: int) -> None:
        (self.folder / "sample.json").unlink(missing_ok=True)
        packed_models.put_times(self.folder.parent, factor, self.name)

    def write_broken(self) -> None:
        self.write(-1)
        (self.folder / "sample.json").write_text('{"features": [[1.0, 1.0]], "predictions": [[7.0, 7.0]]}')


class Trained:
    """A trained model, asked for rows near its data whose answers are known beforehand."""

    def __init__(self, model: trained.BenchModel, generator: np.random.Generator, packed: bool) -> None:
        self.name = model.name
        self.packed = packed
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


class Texts:
    """A packed model of texts, one of which it never ends with."""

    packed = True

    def __init__(self, models: Path) -> None:
        self.name = packed_models.WORDS
        self._models = models
        self._renewed = 0
        packed_models.put_words(models)
        model = joblib.load(models / self.name / "m.joblib")
        texts = [" ".join(words) for words in itertools.product(_WORDS, repeat=3)]
        self._order = itertools.cycle(zip(texts, model.predict(texts).tolist(), strict=True))

    def renew(self) -> None:
        """A new version that answers as this one does."""
        self._renewed += 1
        packed_models.put_words(self._models, description=f"Renewed {self._renewed} times.")

    def question(self) -> tuple[Row, Right]:
        text, label = next(self._order)
        return text, lambda answer: list(answer) == [label]


@dataclass(frozen=True)
class Subjects:
    """The models of a run: all of them, the one that is changed, and the one that is slowed.

    Processes are killed in the order of `turns`. `texts` can hang its pack, if there is one.
    """

    all: list[Subject]
    turns: list[Subject]
    changed: Multiplier
    slowed: PythonMultiplier
    texts: Texts | None = None

    def renew(self) -> None:
        """Write new versions of what dies for itself or in a pack, which begins anew with each."""
        if self.texts is not None:
            self.texts.renew()
            self.slowed.renew()


def write(models: Path, seed: int, packed: bool) -> Subjects:
    """Write four models into `models`; if they are to be packed, all but the one that is slowed, and one more."""
    generator = np.random.default_rng(seed)
    known = {model.name: model for model in trained.write(models)}
    for name in set(known) - {trained.LOGREG, trained.MLP}:
        shutil.rmtree(models / name)
    twice = PythonMultiplier(models, TWICE, 2)
    bench = [known[name] for name in (trained.LOGREG, trained.MLP)]
    if not packed:
        times = PythonMultiplier(models, TIMES, 3)
        subjects: list[Subject] = [times, twice, *(Trained(model, generator, False) for model in bench)]
        return Subjects(subjects, subjects, times, times)
    _have_the_packs_keys(models)
    changed, texts = PackedMultiplier(models, TIMES, 3), Texts(models)
    members: list[Subject] = [changed, *(Trained(model, generator, True) for model in bench), texts]
    # The process of a pack is to die no more often than another one's.
    turns = [one for member in members for one in (member, twice)]
    return Subjects([*members, twice], turns, changed, twice, texts)


def _have_the_packs_keys(models: Path) -> None:
    """Leave out the keys of configs that a whole pack has one value of."""
    for path in models.glob("*/model_config.yaml"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.strip().partition(":")[0] not in _OF_A_PACK]
        path.write_text("".join(kept), encoding="utf-8")


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
