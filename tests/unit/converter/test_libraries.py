"""`build-repo --skip-missing`: a model whose library is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from converter.build import build_repository
from converter.cli import main
from converter.errors import ConfigError
from converter.libraries import set_apart
from converter.spec.manifest import read_manifest
from tests.unit.converter.samples import OPTIONS, add_joblib, add_model, add_source, model_yaml

CLASS = b"class Model:\n    def predict(self, X):\n        return X\n"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "torch" else find(name, *more))


@pytest.mark.usefixtures("without_torch")
def test_a_model_whose_library_is_missing_is_left_out_and_named(tmp_path: Path) -> None:
    sources = [
        add_source(
            tmp_path / "models", kind, model_yaml(kind, name=f"a_{kind}"), {f"m.{kind}": b"x", "model.py": CLASS}
        )
        for kind in ("sklearn", "joblib", "onnx", "python", "torch")
    ]
    served, left_out = set_apart(sources)
    assert [source.spec.name for source in served] == ["a_sklearn", "a_joblib", "a_onnx", "a_python"]
    assert left_out == (
        "models/torch/model_config.yaml: a_torch is left out: it needs torch, which is not installed here: "
        "pip install 'schwift[torch]', or EXTRAS=torch docker compose up --build",
    )


@pytest.mark.usefixtures("without_torch")
def test_the_others_are_built(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "forest")
    add_model(tmp_path / "models", "net", model_yaml("torch", name="net"), {"m.pt": b"not read"})
    arguments = ["build-repo", "--models", str(tmp_path / "models"), "--output", str(tmp_path / "repo")]
    result = CliRunner().invoke(main, [*arguments, "--skip-missing"])
    assert result.exit_code == 0
    assert "note: models/net/model_config.yaml: net is left out: it needs torch" in result.stdout
    assert [entry.name for entry in read_manifest(tmp_path / "repo").models] == ["forest"]
    # Without the option the model file is looked into, and refused.
    assert CliRunner().invoke(main, arguments).exit_code == 2


@pytest.mark.usefixtures("without_torch")
def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    add_model(tmp_path / "models", "net", model_yaml("torch", name="net"), {"m.pt": b"not read"})
    with pytest.raises(ConfigError, match="net is left out: it needs torch"):
        build_repository(tmp_path / "models", tmp_path / "repo", OPTIONS, skip_missing=True)
    assert not (tmp_path / "repo").exists()
