"""One server for all tests that only ask it things; a test that breaks one starts its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import documented, sample_models
from tests.support.servers.server import ROOT, Served, elsewhere, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in Path(item.path).parts:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples of the repo, the model of the README, and models made to be difficult."""
    folder = tmp_path_factory.mktemp("served") / "models"
    shutil.copytree(ROOT / "models", folder, ignore=shutil.ignore_patterns("__pycache__"))
    sample_models.write_all(folder)
    documented.write_readmes_model(folder)
    return folder


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Serves every model of `models`; or what somebody else serves, where the environment says so."""
    if (there := elsewhere()) is not None:
        yield there
        return
    models: Path = request.getfixturevalue("models")
    trust = {"SCHWIFT_TRUST_FOLDERS": str(models / "eager")}
    with serving(models, models.parent, PREDICT_TIMEOUT_SECONDS="10", **trust) as running:
        yield running
