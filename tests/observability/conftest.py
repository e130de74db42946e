"""What is seen of a running server from outside: real collectors, a real Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "observability" in Path(item.path).parts:
            item.add_marker(pytest.mark.observability)
