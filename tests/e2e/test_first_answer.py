"""`ready` means that the model answered a made-up row, or that nothing says it should have; in a real Triton."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.servers.factor_model import schwift
from tests.support.servers.server import Server, serving

CONFIG = """\
model:
  name: {name}
  backend: {backend}
  model_args: {args}
  input: {{type: array, shape: [-1, 2], dtype: float64}}
  output: {{type: array, shape: [-1, {width}], dtype: float64}}
"""
SCRIPT = """\
class Strict:
    def predict(self, X):
        if (X < 50).any():
            raise ValueError("too young")
        return X.sum(axis=1)

class Wide:
    def predict(self, X):
        return X

class Borrowed:
    def predict(self, X):
        from sklearn.linear_model import NoSuchThing
"""
X, Y = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [0, 1, 2, 2]


def write(models: Path, name: str, backend: str, args: str, width: int, more: str = "") -> Path:
    folder = models / name
    folder.mkdir(parents=True)
    text = CONFIG.format(name=name, backend=backend, args=args, width=width)
    (folder / "model_config.yaml").write_text(text + more, encoding="utf-8")
    return folder


def write_joblib(models: Path, name: str, model: object) -> None:
    folder = write(models, name, "joblib", "{model_file: model.joblib}", 3)
    joblib.dump(model, folder / "model.joblib")


def write_class(models: Path, kind: str, name: str, more: str = "") -> None:
    folder = write(models, name, "python", f"{{class: 'code:{kind}'}}", 1, more)
    (folder / "code.py").write_text(SCRIPT, encoding="utf-8")


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("first_answer")
    models = folder / "models"
    fitted = LogisticRegression().fit(X, Y)
    write_joblib(models, "good", fitted)
    # As a pickle of another scikit-learn is: an attribute that this version asks for is not there.
    skewed = LogisticRegression().fit(X, Y)
    del skewed.multi_class
    write_joblib(models, "skewed", skewed)
    write_joblib(models, "unfitted", LogisticRegression())
    write_class(models, "Strict", "strict")
    write_class(models, "Wide", "wide")
    write_class(models, "Borrowed", "borrowed")
    write_class(models, "Wide", "not_asked", "  warmup: false\n")
    # A build would stop at some of them.
    with serving(models, folder, SCHWIFT_CHECK="off") as running:
        yield running


REASONS = {
    "skewed": "the model cannot answer: AttributeError: 'LogisticRegression' object has no attribute 'multi_class'",
    "unfitted": "the model cannot answer: NotFittedError: This LogisticRegression instance is not fitted yet.",
    "wide": "the model's answer is not what its config promises: output predictions has rows of shape [2]",
    "borrowed": "the model cannot answer: ImportError: cannot import name 'NoSuchThing' from 'sklearn.linear_model'",
}
NOTE = "it raised ValueError on a made-up row, and nothing says that it should not"


@pytest.mark.parametrize("name", REASONS)
def test_one_that_cannot_answer_has_failed_with_the_reason(tried: Server, name: str) -> None:
    answer = httpx.get(f"{tried.url}/health")
    status = answer.json()["models"][name]
    assert (answer.status_code, status["state"]) == (503, "failed")
    assert status["reason"].startswith(REASONS[name])
    assert "/" not in status["reason"].removeprefix(REASONS[name])
    assert f"failed  {name:<9}  {REASONS[name]}" in tried.output
    refused = tried.post("predict", name, [[1.0, 2.0]])
    assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
    for triton_model in (name, f"{name}_direct"):
        assert httpx.get(f"http://{tried.triton_http}/v2/models/{triton_model}/ready").status_code == 400


def test_the_others_serve(tried: Server) -> None:
    assert tried.post("predict_batched", "good", [[0.0, 0.0]]).json()["predictions"] == [
        pytest.approx(list(LogisticRegression().fit(X, Y).predict_proba([[0.0, 0.0]])[0]), rel=1e-9)
    ]


def test_an_error_that_another_row_may_not_raise_is_a_note(tried: Server) -> None:
    status = httpx.get(f"{tried.url}/health").json()["models"]["strict"]
    assert (status["state"], status["reason"]) == ("ready", NOTE)
    assert f"; {NOTE}" in tried.output
    assert tried.post("predict", "strict", [[60.0, 70.0]]).json()["predictions"] == [[130.0]]


def test_who_wants_no_made_up_row_gets_none(tried: Server) -> None:
    status = httpx.get(f"{tried.url}/health").json()["models"]["not_asked"]
    assert (status["state"], status["reason"]) == ("ready", None)
    assert tried.post("predict", "not_asked", [[1.0, 2.0]]).status_code == 502


def test_a_reload_does_not_take_what_cannot_answer(tried: Server) -> None:
    """The sentence is the same, and the version before goes on."""
    before = json.dumps(tried.post("predict", "good", [[2.0, 2.0]]).json()["predictions"])
    broken = LogisticRegression().fit(X, Y)
    del broken.multi_class
    joblib.dump(broken, tried.log.parent / "models" / "good" / "model.joblib")
    done = schwift(tried, tried.log.parent / "models", "reload", SCHWIFT_CHECK="off")
    assert done.returncode == 1
    assert "good: the new version cannot answer: AttributeError: 'LogisticRegression' object has" in done.stderr
    assert json.dumps(tried.post("predict", "good", [[2.0, 2.0]]).json()["predictions"]) == before
