"""A27: an adapter that others reach without a key says so. It has nothing to serve here, and ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers.server import environment


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({}, ""),
        ({"SCHWIFT_HOST": "0.0.0.0"}, "0.0.0.0"),
        ({"SCHWIFT_HOST": "0.0.0.0", "SCHWIFT_PUBLISH": "127.0.0.1"}, ""),
        ({"SCHWIFT_HOST": "0.0.0.0", "SCHWIFT_PUBLISH": "192.0.2.7"}, "192.0.2.7"),
    ],
)
def test_A27_an_open_address_without_keys_is_warned_of(tmp_path: Path, given: dict[str, str], warned: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "adapter"], cwd=tmp_path, env=environment(tmp_path, given),
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1 and "model_repository" in done.stderr
    warnings = [line for line in done.stderr.splitlines() if "is not the loopback address" in line]
    assert len(warnings) == bool(warned)
    assert all(warned in line and "SCHWIFT_API_KEYS_FILE" in line and "SCHWIFT_PUBLISH" in line for line in warnings)
