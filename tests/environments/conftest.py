"""Environments that the tests share: made once, by the tools that users have; they need PyPI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from converter.environments.engine import find_engine
from converter.schema.settings import load_settings
from tests.environments import venvs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "environments" in Path(item.path).parts:
            item.add_marker(pytest.mark.environments)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A cache of the tests' own, and the engine that is there."""
    engine = find_engine(load_settings(env_file=None))
    assert engine is not None, "Triton is not there: make venv"
    return {"SCHWIFT_CACHE": str(tmp_path_factory.mktemp("cache")), "SCHWIFT_ENGINE": str(engine.folder)}


@pytest.fixture(scope="session")
def today_311(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's environment of today: the newest scikit-learn and numpy on Python 3.11."""
    return venvs.make_venv("3.11", tmp_path_factory.mktemp("today") / "py311", "scikit-learn")


@pytest.fixture(scope="session")
def today_313(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on Python 3.13."""
    return venvs.make_venv("3.13", tmp_path_factory.mktemp("today") / "py313", "scikit-learn")
