"""From a model's file to a server by `schwift new` and `schwift serve PATH`: the answers are the original's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.support.servers.server import ROOT, Server, environment, serving

X, Y = load_iris(return_X_y=True)
PIPELINE = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
MOODS = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good film", "bad film"] * 4, [1, 0] * 4)
FUNCTION = "def total(X):\n    return X.sum(axis=1)\n"


def ask_torch(rows: Any) -> npt.NDArray[Any]:
    network: Any = torch.jit.load(str(ROOT / "models" / "torch_mlp" / "model.pt"))
    answer: npt.NDArray[Any] = network(torch.tensor(rows, dtype=torch.float32)).detach().numpy()
    return answer


def ask_onnx(rows: Any) -> npt.NDArray[Any]:
    session = ort.InferenceSession(
        str(ROOT / "models" / "iris_onnx" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    answer: npt.NDArray[Any] = session.run(["probabilities"], {"features": np.array(rows, dtype=np.float32)})[0]
    return answer


TABLE = pd.DataFrame({"age": [20.0, 30, 50, 70] * 5, "city": ["Bern", "Lima", "Rome", "Bern"] * 5})
PEOPLE = make_pipeline(
    make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])),
    LogisticRegression(),
).fit(TABLE, [0, 0, 1, 1] * 5)

ORIGINALS: dict[str, Callable[[Any], Any]] = {
    "flowers": lambda rows: PIPELINE.predict_proba(np.array(rows)),
    "tracked": lambda rows: PIPELINE.predict(np.array(rows)),
    "moods": lambda rows: MOODS.predict_proba(rows),
    "people": lambda rows: PEOPLE.predict_proba(pd.DataFrame(rows, columns=list(TABLE))),
    "graph": ask_onnx,
    "network": ask_torch,
    "total": lambda rows: np.array(rows).sum(axis=1),
    "multiply": lambda rows: np.array(rows) * 2.5,
}


def new(folder: Path, models: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "schwift", "new", *arguments, "--models", str(models)]
    done = subprocess.run(command, cwd=folder, env=environment(folder, {}), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All models, the last of which is written by `schwift serve` itself."""
    folder = tmp_path_factory.mktemp("new")
    models = folder / "models"
    joblib.dump(PIPELINE, folder / "flowers.joblib")
    joblib.dump(MOODS, folder / "moods.pickle")
    (folder / "users_total.py").write_text(FUNCTION)
    (folder / "tracked").mkdir()
    joblib.dump(PIPELINE, folder / "tracked" / "model.pkl")
    flavors = {"sklearn": {"pickled_model": "model.pkl"}, "python_function": {"predict_fn": "predict"}}
    (folder / "tracked" / "MLmodel").write_text(json.dumps({"flavors": flavors}))
    np.save(folder / "rows.npy", np.arange(120.0).reshape(40, 3))
    new(folder, models, "tracked")
    new(folder, models, "moods.pickle")
    joblib.dump(PEOPLE, folder / "people.joblib")
    new(folder, models, "people.joblib")
    new(folder, models, f"{ROOT}/models/iris_onnx/model.onnx", "--name", "graph")
    new(folder, models, f"{ROOT}/models/torch_mlp/model.pt", "--name", "network")
    new(folder, models, "users_total:total", "--input-shape", "3")
    new(
        folder, models, f"{ROOT}/models/multiply/model.py:Multiply", "--kwargs", '{"factor": 2.5}', "--data", "rows.npy"
    )
    with serving(models, folder, str(folder / "flowers.joblib")) as server:
        yield server


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_new_model_answers_as_the_original(served: Server, name: str) -> None:
    folder = served.repository.parent / "models" / name
    sample = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    response = served.post("predict", name, sample["features"])
    assert response.status_code == 200, response.text
    answers = np.array(response.json()["predictions"])
    assert len(answers) == 32
    np.testing.assert_allclose(answers, np.array(sample["predictions"]), rtol=1e-5, atol=1e-7)
    wanted = np.array(ORIGINALS[name](sample["features"])).reshape(answers.shape)
    np.testing.assert_allclose(answers, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["flowers", "tracked", "moods", "people", "graph"])
def test_the_sample_of_a_classifier_has_several_classes(served: Server, name: str) -> None:
    sample = json.loads((served.repository.parent / "models" / name / "sample.json").read_text(encoding="utf-8"))
    answers = np.array(sample["predictions"])
    labels = answers[:, 0] if answers.shape[1] == 1 else answers.argmax(axis=1)
    assert len(set(labels.tolist())) >= 2
