"""`schwift verify` with a real server: models of several kinds are equal, and two that cannot be are told."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.support.servers.server import ROOT, environment, leftovers, wait_for

CODE = """\
import random


class Lots:
    def predict(self, X):
        return [[random.random()] for _ in X]


class Leaning:
    def predict(self, X):
        return X - X.mean(axis=0)
"""
HEAD = ["MODEL", "RESULT", "ROWS", "REQUESTS", "LARGEST DIFFERENCE", "ROWS THAT DIFFER", "REFUSED", "COMPARED WITH"]


def write_model(folder: Path, **spec: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_config.yaml").write_text(json.dumps({"model": {"name": folder.name, **spec}}))


def write_models(models: Path) -> None:
    """Five kinds, two that cannot be equal, one that does not load, and one that is not to be compared."""
    for name in ("iris_onnx", "torch_mlp"):
        shutil.copytree(ROOT / "models" / name, models / name)
    X, y = load_iris(return_X_y=True)
    flowers = LogisticRegression(max_iter=500).fit(X, y)
    wide = {"input": {"shape": [-1, 4], "dtype": "float64"}, "output": {"shape": [-1, 3], "dtype": "float64"}}
    write_model(models / "flowers", backend="sklearn", model_args={"model_file": "m.joblib"}, **wide)
    joblib.dump(flowers, models / "flowers" / "m.joblib")
    sample = {"features": X[::20].tolist(), "predictions": flowers.predict_proba(X[::20]).tolist()}
    (models / "flowers" / "sample.json").write_text(json.dumps(sample))
    write_model(models / "stale", backend="sklearn", model_args={"model_file": "m.joblib"}, **wide)
    joblib.dump(flowers, models / "stale" / "m.joblib")
    stale = {"features": X[:2].tolist(), "predictions": [[0.25, 0.25, 0.5]] * 2}
    (models / "stale" / "sample.json").write_text(json.dumps(stale))
    people = pd.DataFrame({"age": [31.0, None, 52.5, 19.0] * 5, "city": ["Bern", "Lima", "Rome", None] * 5})
    encoder = ColumnTransformer([("city", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
    boosted = make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1))
    columns = [
        {"name": "city", "dtype": "string", "nullable": True},
        {"name": "age", "dtype": "float64", "nullable": True},
    ]
    write_model(
        models / "people", backend="sklearn", model_args={"model_file": "m.joblib", "method": "predict"},
        input={"columns": columns}, output={"shape": [-1, 1], "dtype": "int64"},
    )  # fmt: skip
    joblib.dump(boosted.fit(people, [0, 1, 1, 0] * 5), models / "people" / "m.joblib")
    moods = make_pipeline(TfidfVectorizer(), LogisticRegression())
    write_model(
        models / "moods", backend="sklearn", model_args={"model_file": "m.joblib"},
        input={"shape": [-1], "dtype": "string"}, output={"shape": [-1, 2], "dtype": "float64"},
    )  # fmt: skip
    joblib.dump(moods.fit(["good film", "bad film"] * 4, [1, 0] * 4), models / "moods" / "m.joblib")
    for name, width, verify in (("lots", 1, True), ("leaning", 4, True), ("raffle", 1, False)):
        named = "model:Leaning" if name == "leaning" else "model:Lots"
        write_model(
            models / name, backend="python", model_args={"class": named}, verify=verify,
            input={"shape": [-1, 4], "dtype": "float64"}, output={"shape": [-1, width], "dtype": "float64"},
        )  # fmt: skip
        (models / name / "model.py").write_text(CODE)


@dataclass(frozen=True)
class Run:
    code: int
    rows: dict[str, dict[str, str]]
    text: str
    errors: str
    left: list[str]


def verify(folder: Path, *arguments: str, **settings: str) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "schwift", "verify", *arguments],
        cwd=folder, env=environment(folder, settings), capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    lines = done.stdout.split("\n\n")[0].splitlines()
    cells = [re.split(r"  +", line) for line in lines]
    rows = {row[0]: dict(zip(HEAD, row, strict=True)) for row in cells[1:]}
    return Run(done.returncode, rows, done.stdout, done.stderr, leftovers(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose settings are those of a server that others use."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "tmp").mkdir()
    write_models(folder / "models")
    (folder / ".env").write_text("MAX_REQUESTS=1\nPORT=1\nSCHWIFT_API_KEYS_FILE=none.json\nLOG_DIRECTORY=./logs\n")
    return folder


@pytest.fixture(scope="module")
def verified(folder: Path) -> Run:
    return verify(folder)


def test_it_fails_when_a_model_differs_and_leaves_nothing(verified: Run, folder: Path) -> None:
    assert verified.code == 1, verified.errors
    assert verified.left == []
    assert {path.name for path in folder.iterdir()} == {".env", "models", "tmp", "marks"}
    assert len(verified.rows) == 9


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("flowers", r"LogisticRegression\.predict_proba \(.*scikit-learn"),
        ("people", r"Pipeline\.predict \(.*scikit-learn"),
        ("moods", r"Pipeline\.predict_proba \(.*scikit-learn"),
        ("iris_onnx", r"ONNX Runtime \(.*onnxruntime"),
        ("torch_mlp", r"torch\.jit \(.*torch"),
    ],
)
def test_a_model_that_is_served_as_it_is_is_equal(verified: Run, name: str, asked: str) -> None:
    row = verified.rows[name]
    assert row["RESULT"] == "equal", verified.text
    assert row["ROWS THAT DIFFER"] == "0"
    assert float(row["LARGEST DIFFERENCE"]) < 1e-5
    # The rows of a sample or made-up ones, and edges; each at least thrice.
    assert int(row["ROWS"]) >= 16
    assert int(row["REQUESTS"]) > 3 * int(row["ROWS"])
    assert re.match(asked, row["COMPARED WITH"])


def test_rows_that_the_original_refuses_are_refused(verified: Run) -> None:
    # Numbers near the largest of a float64, which scikit-learn takes for infinite.
    assert int(verified.rows["flowers"]["REFUSED"]) >= 1
    assert verified.rows["moods"]["REFUSED"] == "0"


def test_a_model_that_draws_lots_is_told(verified: Run) -> None:
    row = verified.rows["lots"]
    assert (row["RESULT"], row["ROWS THAT DIFFER"]) == ("differs", row["ROWS"])
    assert 0.5 < float(row["LARGEST DIFFERENCE"]) < 1
    said = verified.text.partition("\nlots:\n")[2].partition("\n\n")[0]
    assert re.search(r"/predict\w*, [a-z ]+: made-up row \d+, \[0\]: served 0\.\d+, original 0\.\d+", said)
    assert "gives row 0 another answer when it is asked again: write `verify: false`" in said


def test_a_model_that_looks_across_its_batch_is_told(verified: Run) -> None:
    row = verified.rows["leaning"]
    assert row["RESULT"] == "differs"
    assert int(row["ROWS THAT DIFFER"]) >= 16
    said = verified.text.partition("\nleaning:\n")[2].partition("\n\n")[0]
    # Alone each row is its own mean.
    assert re.search(r"/predict\w*, (together|joined|beside a refused row): .*, original 0\.0", said)
    assert "another answer together with others" in said


def test_a_model_that_does_not_load_has_failed_with_its_reason(verified: Run) -> None:
    assert verified.rows["stale"]["RESULT"] == "failed"
    said = verified.text.partition("\nstale:\n")[2].partition("\n\n")[0]
    assert "its answers are not those of its sample.json: row 0, [0]" in said


def test_a_model_with_verify_false_is_skipped(verified: Run) -> None:
    assert verified.rows["raffle"]["RESULT"] == "skipped"
    assert verified.rows["raffle"]["ROWS"] == "-"


def test_named_models_alone_are_compared(folder: Path) -> None:
    run = verify(folder, "moods", "raffle")
    assert run.code == 0, run.text + run.errors
    assert {name: row["RESULT"] for name, row in run.rows.items()} == {"moods": "equal", "raffle": "skipped"}
    assert "flowers" not in run.errors
    assert run.left == []


def test_models_in_one_process_are_equal_too(folder: Path) -> None:
    run = verify(folder, "flowers", "people", "moods", "stale", SCHWIFT_PACK="libraries")
    assert run.code == 1, run.text + run.errors
    assert re.search("pack default: 4 models in one process.*: flowers, moods, people, stale\n", run.errors)
    results = {name: row["RESULT"] for name, row in run.rows.items()}
    assert results == {"flowers": "equal", "people": "equal", "moods": "equal", "stale": "failed"}, run.text
    for name in ("flowers", "people", "moods"):
        row = run.rows[name]
        assert (row["ROWS THAT DIFFER"], float(row["LARGEST DIFFERENCE"]) < 1e-5) == ("0", True)
        assert int(row["REQUESTS"]) > 3 * int(row["ROWS"]) >= 48
    # A row that one refuses leaves those of its mates alone.
    assert int(run.rows["flowers"]["REFUSED"]) >= 1
    assert "its answers are not those of its sample.json: row 0, [0]" in run.text.partition("\nstale:\n")[2]
    assert run.left == []


def test_ctrl_c_ends_it_with_all_that_it_started(folder: Path) -> None:
    log = folder / "tmp-errors.log"
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "schwift", "verify", "moods"],
            cwd=folder, env=environment(folder, {}), stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: "model_repository: written" in log.read_text(), 120)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output) == (130, b"")
    assert leftovers(folder) == []
