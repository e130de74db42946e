"""`build-repo --skip-missing`: a model whose library is not installed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from converter.environments import model_environment
from converter.environments.interpreter import own_interpreter
from converter.errors import ConfigError
from converter.schema.manifest import read_manifest
from schwift.cli import main
from tests.support.models.repositories import build
from tests.support.models.sample_models import add_joblib, add_model, model_yaml

CODE = b"import xgboost\n\n\nclass Model:\n    def predict(self, X):\n        return X\n"


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    here = own_interpreter()
    there = dataclasses.replace(here, modules=here.modules - {"torch", "xgboost", "pandas"})
    monkeypatch.setattr(model_environment, "own_interpreter", lambda: there)


def test_a_model_whose_library_is_missing_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is pickled here is no model.
    monkeypatch.setenv("SCHWIFT_CHECK", "off")
    add_joblib(tmp_path / "models", "forest")
    add_model(tmp_path / "models", "net", model_yaml("torch", name="net"), {"m.pt": b"not read"})
    add_model(tmp_path / "models", "code", model_yaml("python", name="code"), {"model.py": CODE})
    arguments = ["build-repo", "--models", str(tmp_path / "models"), "--output", str(tmp_path / "repo")]
    result = CliRunner().invoke(main, [*arguments, "--skip-missing"])
    assert result.exit_code == 0, result.output
    remedy = "(with docker: EXTRAS=<package> docker compose up --build)"
    assert [line for line in result.stdout.splitlines() if line.startswith("note: ")] == [
        "note: left out: code/model.py:1: the model needs xgboost, which is not installed: "
        "pip install xgboost " + remedy,
        "note: left out: models/net/model_config.yaml: the model needs torch, which is not installed: "
        "pip install 'schwift[torch]' " + remedy,
    ]
    assert [entry.name for entry in read_manifest(tmp_path / "repo").models] == ["forest"]


def test_without_the_option_it_is_an_error(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "forest")
    add_model(tmp_path / "models", "net", model_yaml("torch", name="net"), {"m.pt": b"not read"})
    with pytest.raises(ConfigError, match="needs torch, which is not installed"):
        build(tmp_path)
    assert not (tmp_path / "repo").exists()


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    add_model(tmp_path / "models", "net", model_yaml("torch", name="net"), {"m.pt": b"not read"})
    with pytest.raises(ConfigError, match="needs torch, which is not installed"):
        build(tmp_path, skip_missing=True)
    assert not (tmp_path / "repo").exists()


def test_columns_need_pandas(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "table", input={"columns": [{"name": "a", "dtype": "float64"}]})
    with pytest.raises(ConfigError) as caught:
        build(tmp_path)
    assert caught.value.problems == (
        "models/table/model_config.yaml: model.input.columns: they need pandas, which is not installed: "
        "pip install 'schwift[sklearn]'",
    )
