"""Hostile input, sent for real: one server for all tests of a module that it survives unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.server import leftovers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "abuse" in Path(item.path).parts:
            item.add_marker(pytest.mark.abuse)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No process, no temporary file and no shared memory of any server of the test."""
    yield
    assert leftovers(tmp_path) == []
