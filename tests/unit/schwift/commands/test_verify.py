"""`schwift verify` without a server: what is wrong is said before one is started, and nothing is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from schwift.cli import main


def write_model(models: Path, name: str, **spec: object) -> None:
    (models / name).mkdir(parents=True)
    shape = {"shape": [-1, 1], "dtype": "float64"}
    config = {
        "name": name, "backend": "python", "model_args": {"class": "model:M"}, "input": shape, "output": shape, **spec,
    }  # fmt: skip
    (models / name / "model_config.yaml").write_text(json.dumps({"model": config}))
    (models / name / "model.py").write_text("class M:\n    def predict(self, X):\n        return X\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["verify", *arguments])


def test_a_mistake_in_a_config_is_code_2(folder: Path) -> None:
    write_model(folder / "models", "m", backend="pyton")
    done = verify()
    assert done.exit_code == 2
    assert "did you mean python" in done.stderr
    assert list((folder / "tmp").iterdir()) == []


def test_an_unknown_model_is_code_2(folder: Path) -> None:
    write_model(folder / "models", "shop", verify=False)
    done = verify("shopp")
    assert done.exit_code == 2
    assert "no model has this name (did you mean shop?)" in done.stderr


def test_with_nothing_to_compare_no_server_is_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_model(folder / "models", "raffle", verify=False)
    monkeypatch.setenv("MAX_REQUESTS", "3")
    before = dict(os.environ)
    done = verify("--format", "json")
    assert done.exit_code == 0
    (model,) = json.loads(capfd.readouterr().out)["models"]
    assert (model["name"], model["result"]) == ("raffle", "skipped")
    assert dict(os.environ) == before
    assert Path.cwd() == folder
    assert list((folder / "tmp").iterdir()) == []
