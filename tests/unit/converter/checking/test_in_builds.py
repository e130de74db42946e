"""Builds: they stop at errors, note warnings, try what changed alone, and wait for no model."""

from __future__ import annotations

import time
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from converter.checking.check_models import check_models
from converter.checking.dry_runs import Bounds
from converter.errors import ArtifactError
from converter.inspect.inspector import ModelFacts
from tests.support.models.repositories import build
from tests.support.models.sample_models import add_model, add_source, model_yaml, options_of

CODE = """\
import os
import time
from pathlib import Path


class Model:
    def __init__(self, counted=None, how="well"):
        self.how = how
        if how == "ends":
            os._exit(3)
        if counted:
            with open(counted, "a") as file:
                file.write("made\\n")

    def predict(self, X):
        if self.how == "sleeps":
            time.sleep(60)
        return X[:, 0]
"""
TWO, ONE = {"shape": [-1, 2], "dtype": "float64"}, {"shape": [-1, 1], "dtype": "float64"}


def add_class(models: Path, name: str = "m", **kwargs: str) -> Path:
    arguments = {"class": "model:Model", "kwargs": kwargs}
    config = model_yaml("python", name=name, model_args=arguments, input=TWO, output=ONE)
    return add_model(models, name, config, {"model.py": CODE.encode()})


def test_a_build_stops_at_errors_and_says_all(tmp_path: Path) -> None:
    for name in ("a", "b"):
        config = model_yaml(name=name, input=TWO, output=ONE)
        joblib.dump(
            LinearRegression().fit([[1, 2, 3]], [1]), add_model(tmp_path / "models", name, config, {}) / "m.joblib"
        )
    with pytest.raises(ArtifactError) as raised:
        build(tmp_path, options=options_of(check="on"))
    assert raised.value.problems == tuple(
        f"models/{name}/model_config.yaml:7: model.input.shape: the model takes 3 features a row (n_features_in_), and "
        "the config has 2: write shape: [-1, 3] [features-count]"
        for name in ("a", "b")
    )
    assert not (tmp_path / "repo").exists()


def test_a_warning_is_a_note_and_what_is_unchanged_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    add_class(tmp_path / "models", counted=str(made))
    add_class(tmp_path / "models", "ends", how="ends")
    options = options_of(check="on")
    # Files that are younger than their file system's steps of time are looked into again.
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)
    first = build(tmp_path, options=options)
    [note] = first.notes
    assert note.startswith(
        "models/ends/model_config.yaml:5: model.model_args.class: it could not be loaded here: loading"
    )
    assert note.endswith("[load-fails]")
    assert build(tmp_path, options=options).notes == first.notes
    assert made.read_text() == "made\n"


def test_a_model_that_takes_long_is_not_waited_for(tmp_path: Path) -> None:
    source = add_source(
        tmp_path / "models", "m",
        model_yaml("python", model_args={"class": "model:Model", "kwargs": {"how": "sleeps"}}, input=TWO, output=ONE),
        {"model.py": CODE.encode()},
    )  # fmt: skip
    bounds = Bounds(load_seconds=60, seconds=0.2, file_bytes=1024)
    found = check_models([source], {"m": ModelFacts()}, options_of(), tmp_path, bounds)
    said = [(item.code, item.severity, item.message) for item in found["m"] if item.severity != "note"]
    assert said == [("not-tried", "warning", "it took over 0.2 s to answer some rows")]


def test_a_large_file_is_not_tried(tmp_path: Path) -> None:
    source = add_source(tmp_path / "models", "m", model_yaml(input=TWO, output=ONE), {"m.joblib": b"0" * 2048})
    found = check_models([source], {"m": ModelFacts()}, options_of(), tmp_path, Bounds(1, 1, file_bytes=1024))
    assert [item.code for item in found["m"]] == ["not-tried", "sample-missing"]
