"""The process that looks into models' files, as its build speaks with it: pickled sources in, lines of JSON out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import sys
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pytest

from converter.inspect.discover import ModelSource
from converter.inspect.worker import count_memory_bound
from tests.support.forking import Fork, forked, run_as_program
from tests.support.models.sample_models import add_source, classifier_graph, model_yaml, sparse_bomb

MIB = 1024 * 1024


class Worker:
    """The worker in a fork of this process, and both ends of its pipes."""

    def __init__(self, fork: Fork, questions: IO[bytes], answers: IO[bytes]) -> None:
        self.fork = fork
        self.questions = questions
        self._answers = answers

    def ask(self, source: ModelSource) -> Any:
        self.questions.write(pickle.dumps(source))
        self.questions.flush()
        return json.loads(self._answers.readline())

    def limits(self, of_what: int) -> tuple[int, int]:
        return resource.prlimit(self.fork.pid, of_what)

    def rest(self) -> bytes:
        """All that it writes until it ends."""
        return self._answers.read()


@contextlib.contextmanager
def working(scratch: Path) -> Iterator[Worker]:
    asked, asking = os.pipe()
    answered, answering = os.pipe()

    def work() -> None:
        os.close(asking)
        os.close(answered)
        os.dup2(asked, 0)
        os.dup2(answering, 1)
        os.close(answering)
        with open(0, encoding="utf-8") as sys.stdin:
            run_as_program("converter.inspect.worker", [str(scratch)])

    with forked(work) as fork:
        os.close(asked)
        os.close(answering)
        with open(asking, "wb") as questions, open(answered, "rb") as answers:
            yield Worker(fork, questions, answers)
        assert fork.wait() == 0


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with working(tmp_path / "scratch") as one:
        yield one


def torch_file(pickled: bytes) -> bytes:
    """A zip as `torch.save` writes one."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("m/data.pkl", pickled)
        archive.writestr("m/version", "3\n")
    return made.getvalue()


def source(root: Path, name: str, backend: str, content: bytes, **keys: Any) -> ModelSource:
    file = {"onnx": "m.onnx", "torch": "m.pt"}.get(backend, "m.joblib")
    return add_source(root / "models", name, model_yaml(backend, name=name, **keys), {file: content})


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


FACTS: dict[str, Any] = {
    "inputs": [], "outputs": [], "compiled": None, "package": "models", "notes": [], "environment": None,
    "made_for": {}, "sha256": None, "own_code": None, "contents": {
        "names": [], "sklearn": [], "uses": [], "problems": [], "sha256": sha256(pickle.dumps("x")).hexdigest(),
        "has_formulas": False,
    },
}  # fmt: skip


def test_models_are_answered_one_after_the_other_and_it_ends_with_its_input(worker: Worker, tmp_path: Path) -> None:
    assert worker.ask(source(tmp_path, "a", "joblib", pickle.dumps("x"))) == {"facts": FACTS}
    (found,) = worker.ask(source(tmp_path, "b", "onnx", classifier_graph()))["facts"]["inputs"]
    assert found == {"name": "features", "type": "tensor(float)", "shape": [None, 3]}
    (problem,) = worker.ask(source(tmp_path, "c", "joblib", b"no pickle"))["problems"]
    assert problem.startswith("models/c/model_config.yaml: m.joblib is damaged, or not a pickle")
    (problem,) = worker.ask(source(tmp_path, "d", "onnx", b"no graph"))["problems"]
    assert problem.startswith("models/d/model_config.yaml: m.onnx: ONNX Runtime cannot load it: ")
    worker.questions.close()
    # Nothing that a library prints is among its answers.
    assert worker.rest() == b""
    assert worker.fork.wait() == 0


def test_library_that_is_not_here_is_told_from_other_problems(worker: Worker, tmp_path: Path) -> None:
    code = b"import not_here_01\n\n\nclass Model:\n    pass\n"
    one = add_source(tmp_path / "models", "m", model_yaml("python"), {"model.py": code})
    (problem,) = worker.ask(one)["missing"]
    assert "not_here_01" in problem


def test_A22_memory_is_bounded_by_the_size_of_the_file(worker: Worker, tmp_path: Path) -> None:
    bomb = source(tmp_path, "bomb", "onnx", sparse_bomb())
    assert count_memory_bound(bomb) == 2048 * MIB + 4 * size_of(bomb.folder)
    assert worker.ask(bomb) == {"memory": 2048}
    # And it lives on, for the next one.
    assert worker.ask(source(tmp_path, "a", "joblib", pickle.dumps("x"))) == {"facts": FACTS}
    soft, hard = worker.limits(resource.RLIMIT_AS)
    assert 2048 * MIB < soft < resource.getrlimit(resource.RLIMIT_AS)[0] % (1 << 64)
    assert hard == resource.getrlimit(resource.RLIMIT_AS)[1]
    assert worker.limits(resource.RLIMIT_CORE) == (0, 0)


def test_torch_may_have_more_addresses(tmp_path: Path) -> None:
    one = source(tmp_path, "m", "torch", torch_file(b"."))
    assert count_memory_bound(one) == 8192 * MIB + 4 * size_of(one.folder)
