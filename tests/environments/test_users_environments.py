"""A user's own environment is served, and stays as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.environments import venvs
from tests.environments.trained import Trained, train, write_models
from tests.support.servers.server import Server, environment, serving


def assert_served(server: Server, models: list[Trained]) -> None:
    for model in models:
        response = server.post("predict", model.name, model.features)
        assert response.status_code == 200, response.text
        for found, wanted in zip(response.json()["predictions"], model.predictions, strict=True):
            assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_schwift_is_installed_beside_what_is_there(version: str, settings: Mapping[str, str], tmp_path: Path) -> None:
    """`pip install` changes neither numpy nor scikit-learn, and what was trained there is served."""
    prefix = venvs.make_venv(version, tmp_path / "venv", "scikit-learn")
    before = venvs.versions(prefix)
    assert before["numpy"].startswith("2.")
    venvs.install(prefix, str(venvs.copy_clone(tmp_path / "clone")))
    after = venvs.versions(prefix)
    assert {name: after[name] for name in before} == before
    assert "No broken requirements found." in venvs.run(prefix, "-m", "pip", "check")
    models = write_models(train(prefix, tmp_path / "trained"), tmp_path / "models", "m")
    with serving(tmp_path / "models", tmp_path / "served", python=str(prefix / "bin" / "python"), **settings) as server:
        assert_served(server, models)
        assert server.output.count("\nready ") == len(models)


def test_an_environment_is_served_from_outside(settings: Mapping[str, str], today_313: Path, tmp_path: Path) -> None:
    """With `--env`, by schwift of another Python: not a file of it changes."""
    models = write_models(train(today_313, tmp_path / "trained"), tmp_path / "models", "m")
    files, installed = venvs.digests(today_313), venvs.versions(today_313)
    with serving(tmp_path / "models", tmp_path / "served", "--env", str(today_313), **settings) as server:
        assert_served(server, models)
    assert venvs.versions(today_313) == installed
    assert venvs.digests(today_313) == files


def test_a_pickle_of_other_versions_is_refused_where_none_may_be_made(
    settings: Mapping[str, str], tmp_path: Path
) -> None:
    oldest = venvs.make_venv("3.10", tmp_path / "old", "scikit-learn==1.3.2")
    models = write_models(train(oldest, tmp_path / "trained"), tmp_path / "models", "m")
    done = _build(tmp_path, {**settings, "SCHWIFT_ENVIRONMENTS": "off"})
    assert done.returncode == 2
    for model in models:
        (line,) = [line for line in done.stderr.splitlines() if f"{model.name}/model_config.yaml" in line]
        for remedy in ("scikit-learn~=1.3.2", "ONNX", "accept_skew: true"):
            assert remedy in line
    assert not (tmp_path / "model_repository").exists()


def _build(folder: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "schwift", "build-repo", "--models", str(folder / "models")]
    return subprocess.run(
        command, cwd=folder, env=environment(folder, settings), capture_output=True, text=True, timeout=300
    )
