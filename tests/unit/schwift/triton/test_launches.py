"""Where processes run whose model has no environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from converter.environments import fronts
from converter.environments.interpreter import own_interpreter
from converter.errors import EnvironmentProblem
from converter.schema.settings import Settings, load_settings
from schwift.triton import launches
from schwift.triton.installation import Installation
from schwift.triton.launcher import Launch, Launches

OWN = own_interpreter()
USUAL = Launch(OWN.version, Path(sys.prefix), None)


def choose(settings: Settings, version: str = OWN.version) -> Launches:
    found = Installation(Path("server"), Path("backend"), Path("caches"), None, {version: Path("stub")})
    return launches.choose_launches(settings, found, lambda text: None)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a machine whose own environment has numpy 1."""
    monkeypatch.setattr(fronts, "is_own_enough", lambda: True)
    return load_settings(env_file=None, cache=tmp_path)


def test_everything_runs_in_our_own_environment(settings: Settings, tmp_path: Path) -> None:
    assert choose(settings) == Launches(USUAL, USUAL, USUAL, tmp_path / "environments")


def test_models_run_in_the_one_that_is_named(settings: Settings) -> None:
    chosen = choose(settings.model_copy(update={"model_env": Path(sys.prefix)}))
    users = Launch(OWN.version, Path(sys.prefix), OWN.libpython)
    assert (chosen.usual, chosen.models, chosen.fronts) == (USUAL, users, USUAL)


def test_a_python_that_this_triton_does_not_run_is_refused(settings: Settings) -> None:
    with pytest.raises(
        EnvironmentProblem, match=rf"Python {OWN.version}, and this Triton runs models under 3\.8 alone"
    ):
        choose(settings, "3.8")


def test_a_folder_that_is_no_environment_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="no Python environment, since it has no bin/python3"):
        choose(settings.model_copy(update={"model_env": tmp_path}))


def test_fronts_run_in_theirs_or_if_there_is_none_in_ours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "is_own_enough", lambda: False)
    monkeypatch.setattr(fronts, "ensure_fronts", lambda settings, say: Path(sys.prefix))
    assert choose(settings).fronts == Launch(OWN.version, Path(sys.prefix), OWN.libpython)
    monkeypatch.setattr(fronts, "ensure_fronts", lambda settings, say: None)
    assert choose(settings).fronts == USUAL
