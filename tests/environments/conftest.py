"""Environments that the tests share: made once, by the tools that users have; they need PyPI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from converter.environments.engine import find_engine
from converter.schema.settings import load_settings
from tests.environments import venvs
from tests.environments.trained import train


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
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's environment of today: the newest scikit-learn and numpy on Python 3.13."""
    return venvs.make_venv("3.13", tmp_path_factory.mktemp("today") / "venv", "scikit-learn")


@pytest.fixture(scope="session")
def trained_today(today: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was trained there."""
    return train(today, tmp_path_factory.mktemp("today") / "trained")


@pytest.fixture(scope="session")
def trained_long_ago(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was trained with scikit-learn 1.3 on Python 3.10."""
    folder = tmp_path_factory.mktemp("long_ago")
    return train(venvs.make_venv("3.10", folder / "venv", "scikit-learn==1.3.2"), folder / "trained")
