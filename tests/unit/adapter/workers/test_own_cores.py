"""A worker's cores, by the affinity mask and a container's limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapter.workers.own_cores import count_own_cores


@pytest.mark.parametrize(
    ("limit", "workers", "cores"),
    [
        ("max 100000", 1, 8),
        ("max 100000", 3, 2),
        ("max 100000", 9, 0),
        ("150000 100000", 1, 1),
        ("400000 100000", 2, 2),
        ("50000 100000", 1, 0),
        ("1600000 100000", 1, 8),
        ("", 1, 8),
        ("100000 0", 1, 8),
        (None, 2, 4),
    ],
)
def test_cores_are_those_of_the_mask_and_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, workers: int, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    path = tmp_path / "cpu.max"
    if limit is not None:
        path.write_text(limit, encoding="ascii")
    assert count_own_cores(workers, path) == cores
