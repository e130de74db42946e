"""Fronts get numpy 1: from schwift's own environment, or from one that is made for them once."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from converter.environments import fronts
from converter.environments.interpreter import own_interpreter
from converter.schema.settings import Settings, load_settings
from tests.support.models.wheels import add_wheel, ask_folder

# These tests may run on a Python that fronts do not: it calls itself one that they do.
VERSION = min(own_interpreter().version, "3.12")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a machine with this Python alone, which may call itself another."""
    ask_folder(tmp_path / "wheels", monkeypatch)
    monkeypatch.setattr(fronts, "find_pythons", lambda: {VERSION: Path(sys.executable)})
    return load_settings(env_file=None, cache=tmp_path / "cache")


@pytest.mark.parametrize(("version", "enough"), [("1.26.4", True), ("2.4.6", False), ("2.10.0", False)])
def test_own_numpy_decides(version: str, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"numpy": version}.__getitem__)
    assert fronts.is_own_enough() is enough


def test_their_environment_is_made_once(settings: Settings, tmp_path: Path) -> None:
    add_wheel(tmp_path / "wheels", "numpy", "1.26.4")
    assert fronts.find_fronts(settings) is None
    said: list[str] = []
    made = fronts.ensure_fronts(settings, said.append)
    assert made is not None and (made / "requirements.lock").read_text() == "numpy==1.26.4\n"
    assert said[0] == (
        f"fronts: making an environment of Python {VERSION} with numpy 1, for strings of Triton's own clients"
    )
    before = len(said)
    assert fronts.ensure_fronts(settings, said.append) == made == fronts.find_fronts(settings)
    assert len(said) == before


def test_what_pip_cannot_get_is_said_and_stops_nothing(settings: Settings) -> None:
    said: list[str] = []
    assert fronts.ensure_fronts(settings, said.append) is None
    assert said[-1].startswith("note: fronts have no environment of their own, and take no strings: ")


def test_without_a_fitting_python_the_remedy_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"numpy": "2.4.6"}.__getitem__)
    assert fronts.can_be_had(settings)
    monkeypatch.setattr(fronts, "find_pythons", lambda: {"3.13": Path(sys.executable)})
    said: list[str] = []
    assert fronts.ensure_fronts(settings, said.append) is None
    assert said == [f"note: {fronts.WITHOUT_STRINGS}"]
    assert not fronts.can_be_had(settings)


def test_where_none_may_be_made_none_is(settings: Settings, tmp_path: Path) -> None:
    add_wheel(tmp_path / "wheels", "numpy", "1.26.4")
    assert fronts.ensure_fronts(settings.model_copy(update={"environments": "off"}), lambda text: None) is None
    assert not (tmp_path / "cache" / "environments").exists()
