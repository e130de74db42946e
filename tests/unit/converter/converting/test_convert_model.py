"""`schwift convert` on real files: what takes the pickle's place, what stays, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from converter.authoring.new_model import SCHEMA_NAME, NewOptions, write_new
from converter.authoring.original import ask_originals
from converter.build import open_workspace, plan_repository
from converter.converting.convert_model import convert, find_model, go_back
from converter.errors import ConfigError, NotConverted
from converter.inspect.inspector import inspect_all
from converter.inspect.model_environments import ModelEnvironments
from converter.repository.plan import BuildOptions
from converter.schema.samples.compare import compare_rows, default_tolerance
from converter.schema.samples.sample_file import read_sample
from converter.schema.settings import Settings
from tests.support.servers.server import environment

X, Y = load_iris(return_X_y=True)
NAMES = load_iris().target_names
GAPS = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
PEOPLE = pd.DataFrame({"age": [20, 30, 40, 50] * 10, "city": ["Bern", "Lima"] * 20})
# Each with the backend and the words that it comes to.
KINDS: dict[str, tuple[Any, str, str]] = {
    "forest": (RandomForestClassifier(20, random_state=0).fit(X, NAMES[Y]), "onnx", "labels changed"),
    "gaps": (HistGradientBoostingClassifier(max_iter=5).fit(GAPS, Y > 0), "onnx", "a float64 graph"),
    "imputed": (
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=500)).fit(GAPS, Y),
        "onnx",
        "labels",
    ),
    "groups": (KMeans(3, n_init=1, random_state=0).fit(X), "onnx", "KMeans"),
    "people": (
        make_pipeline(
            make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])),
            LogisticRegression(max_iter=500),
        ).fit(PEOPLE, PEOPLE.age > 30),
        "python",
        "labels changed",
    ),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(MODEL_DIRECTORY=tmp_path / "models", SCHWIFT_REPOSITORY=tmp_path / "repository")


def write(model: Any, name: str, settings: Settings) -> Path:
    file = settings.model_directory.parent / f"{name}.joblib"
    joblib.dump(model, file)
    return write_new(str(file), settings, NewOptions(), list[str]().append)


def contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", KINDS)
def test_a_model_is_converted_and_answers_its_sample(name: str, settings: Settings, tmp_path: Path) -> None:
    model, backend, said = KINDS[name]
    folder = write(model, name, settings)
    before, old = contents(folder), find_model(name, settings).spec
    done = convert(name, "onnx", settings, list[str]().append)
    assert said in done.summary and " → " in done.summary and done.folder == folder
    source = find_model(name, settings)
    assert source.spec.backend == backend
    kept = {"name", "input", "output", "classes"}
    assert source.spec.model_dump(include=kept) == old.model_dump(include=kept)
    assert {file: contents(folder)[file] for file in (f"{name}.joblib", "sample.json")} == {
        file: before[file] for file in (f"{name}.joblib", "sample.json")
    }
    # The very text of the sample is asked of what a build would serve.
    environments = ModelEnvironments(settings, list[str]().append)
    (prepared,) = environments.prepare((source,))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    facts = inspect_all((prepared,), scratch, 1, environments)
    answers = ask_originals((prepared,), facts, scratch)[name]
    sample = read_sample(folder / "sample.json")
    assert sample is not None and answers.of_sample == len(sample.predictions)
    served = [values and values[0] for values in answers.answers[: answers.of_sample]]
    assert compare_rows(served, sample.predictions, default_tolerance(old.output[0].dtype)) == []
    with open_workspace(settings.repository) as workspace:
        plan = plan_repository(settings.model_directory, BuildOptions(settings, 2), workspace)
    assert [entry.name for entry in plan.manifest.models] == [name]
    assert go_back(name, settings) == folder
    assert contents(folder) == before


def test_a_graph_that_answers_otherwise_changes_nothing(settings: Settings) -> None:
    """Texts that are not ASCII are other words to ONNX."""
    texts = ["gut für rot", "böse grün", "groß gut", "schlecht für klein"] * 5
    folder = write(
        make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=500)).fit(texts, [1, 0] * 10), "words", settings
    )
    before = contents(folder)
    with pytest.raises(NotConverted, match=r"words/model_config.yaml: nothing was changed: float32: .*differ by more"):
        convert("words", "onnx", settings, list[str]().append)
    assert contents(folder) == before
    assert sorted(path.name for path in settings.model_directory.iterdir()) == [SCHEMA_NAME, "words"]


def test_a_part_that_no_converter_knows_is_named(settings: Settings) -> None:
    folder = write(
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression(max_iter=500)).fit(X, Y), "logs", settings
    )
    before = contents(folder)
    with pytest.raises(NotConverted, match=r"skl2onnx does not convert it: .*FunctionTransformer"):
        convert("logs", "onnx", settings, list[str]().append)
    with pytest.raises(NotConverted, match=r"native: a Pipeline is no model of LightGBM.*: write --to onnx"):
        convert("logs", "native", settings, list[str]().append)
    assert contents(folder) == before


def test_what_is_no_pickle_or_not_there_is_said(settings: Settings) -> None:
    folder = write(LogisticRegression(max_iter=500).fit(X, Y), "plain", settings)
    with pytest.raises(ConfigError, match=r"no model plan \(did you mean plain\?\): there are plain"):
        find_model("plan", settings)
    with pytest.raises(ConfigError, match="the model was not converted"):
        go_back("plain", settings)
    convert("plain", "onnx", settings, list[str]().append)
    with pytest.raises(NotConverted, match="backend onnx is no pickle"):
        convert("plain", "onnx", settings, list[str]().append)
    (graph,) = folder.glob("*.onnx")
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    assert [(item.name, item.type) for item in session.get_inputs()] == [("features", "tensor(double)")]
    assert [(item.name, item.type) for item in session.get_outputs()] == [("predictions", "tensor(double)")]


def test_a_kill_leaves_the_old_folder(settings: Settings, tmp_path: Path) -> None:
    folder = write(LogisticRegression(max_iter=500).fit(X, Y), "killed", settings)
    before = contents(folder)
    command = [sys.executable, "-m", "converter", "convert", "killed", "--models", str(settings.model_directory)]
    with subprocess.Popen(command, env=environment(tmp_path, {}), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        # It is in the middle: the original is asked already.
        assert process.stderr.readline().startswith(b"asking killed")
        process.send_signal(signal.SIGKILL)
    assert contents(folder) == before
    left = [path for path in settings.model_directory.iterdir() if path.name not in (folder.name, SCHEMA_NAME)]
    assert all(path.name.startswith(".convert-killed-") for path in left)
    assert find_model("killed", settings).spec.backend == "sklearn"
