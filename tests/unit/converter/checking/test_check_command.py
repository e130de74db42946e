"""`schwift check` as a command: its exit codes, and what it says of configs that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import pytest
from click.testing import CliRunner, Result
from sklearn.linear_model import LinearRegression

from schwift.cli import main
from tests.support.models.sample_models import add_model, model_yaml

TWO, ONE = {"shape": [-1, 2], "dtype": "float64"}, {"shape": [-1, 1], "dtype": "float64"}
MODEL = LinearRegression().fit([[1, 2], [3, 5]], [1, 2])


def run(models: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", "--models", str(models), *arguments], catch_exceptions=False)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a model that is right."""
    add_line(tmp_path / "models", "line")
    return tmp_path / "models"


def add_line(models: Path, name: str, **keys: Any) -> Path:
    folder = add_model(models, name, model_yaml(**{"name": name, "input": TWO, "output": ONE, **keys}), {})
    joblib.dump(MODEL, folder / "m.joblib")
    return folder


def found(result: Result) -> list[tuple[str, str, int, str]]:
    """Code, file, line and key of what is worse than a note."""
    items = json.loads(result.stdout)["findings"]
    return [(item["code"], item["file"], item["line"], item["key"]) for item in items if item["severity"] != "note"]


def test_without_errors_it_ends_with_0_and_with_one_with_1(models: Path) -> None:
    result = run(models)
    assert result.exit_code == 0
    assert result.stdout.endswith("1 model checked: 0 errors, 0 warnings, 1 note.\n")
    add_line(models, "wide", output={"shape": [-1, 2], "dtype": "float64"})
    result = run(models, "--format", "json")
    assert result.exit_code == 1
    assert found(result) == [("output-shape", "models/wide/model_config.yaml", 12, "model.output.shape")]
    assert run(models, "line").exit_code == 0


def test_a_config_that_cannot_be_read_hides_no_other(models: Path) -> None:
    add_line(models, "typo", warmupp=True)
    add_line(models, "lists", requirements="nowhere.txt")
    (models / "lists" / "sample.json").write_text('{"features": [[1]], "predictions": [[1]]}')
    (models / "notes").mkdir()
    (models / "notes" / "model_config.yml").write_text("model:\n")
    add_line(models, "narrow")
    (models / "narrow" / "sample.json").write_text('{"features": [[1]], "predictions": [[1]]}')
    result = run(models, "--format", "json")
    assert result.exit_code == 2
    assert found(result) == [
        ("environment", "models/lists/model_config.yaml", 16, "model.requirements"),
        ("sample-unfit", "models/narrow/sample.json", 1, "features"),
        ("passed-over", "models/notes", 1, "(top)"),
        ("config", "models/typo/model_config.yaml", 16, "model.warmupp"),
    ]


def test_a_name_that_no_model_has_is_a_mistake(models: Path) -> None:
    result = run(models, "lime")
    assert result.exit_code == 2
    assert "lime: no model has this name (did you mean line?)" in result.stderr
