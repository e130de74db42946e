"""A user's own environment is served, and stays as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.environments import venvs
from tests.environments.trained import Trained, write_models
from tests.support.servers.server import Server, environment, serving


def assert_served(server: Server, models: list[Trained]) -> None:
    for model in models:
        response = server.post("predict", model.name, model.features)
        assert response.status_code == 200, response.text
        for found, wanted in zip(response.json()["predictions"], model.predictions, strict=True):
            assert found == pytest.approx(wanted, rel=1e-6)


def test_an_environment_is_served_from_outside_and_then_by_a_schwift_in_it(
    settings: Mapping[str, str], today: Path, trained_today: Path, tmp_path: Path
) -> None:
    """With `--env`, by schwift of another Python, not a file of it changes; `pip install` changes no package of it."""
    models = write_models(trained_today, tmp_path / "models", "m")
    files, installed = venvs.digests(today), venvs.versions(today)
    assert installed["numpy"].startswith("2.")
    with serving(tmp_path / "models", tmp_path / "outside", "--env", str(today), **settings) as server:
        assert_served(server, models)
    assert venvs.versions(today) == installed
    assert venvs.digests(today) == files
    venvs.install(today, str(venvs.copy_clone(tmp_path / "clone")))
    after = venvs.versions(today)
    assert {name: after[name] for name in installed} == installed
    assert "No broken requirements found." in venvs.run(today, "-m", "pip", "check")
    with serving(tmp_path / "models", tmp_path / "inside", python=str(today / "bin" / "python"), **settings) as server:
        assert_served(server, models)
        assert server.output.count("\nready ") == len(models)


def test_a_pickle_of_other_versions_is_refused_if_no_environment_may_be_made(
    settings: Mapping[str, str], trained_long_ago: Path, tmp_path: Path
) -> None:
    models = write_models(trained_long_ago, tmp_path / "models", "m")
    done = _build(tmp_path, {**settings, "SCHWIFT_CACHE": str(tmp_path / "cache"), "SCHWIFT_ENVIRONMENTS": "off"})
    assert done.returncode == 2
    for model in models:
        (line,) = [line for line in done.stderr.splitlines() if f"{model.name}/model_config.yaml" in line]
        for remedy in ("scikit-learn==1.3.2", "ONNX", "accept_skew: true"):
            assert remedy in line
    assert not (tmp_path / "model_repository").exists()


def _build(folder: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "schwift", "build-repo", "--models", str(folder / "models")]
    return subprocess.run(
        command, cwd=folder, env=environment(folder, settings), capture_output=True, text=True, timeout=300
    )
