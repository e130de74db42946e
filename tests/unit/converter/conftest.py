"""Files that take seconds to make, made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def torch_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with torch files of each kind; torch_samples.py says which."""
    folder = tmp_path_factory.mktemp("torch")
    script = Path(__file__).parents[2] / "support" / "models" / "torch_samples.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, stdin=subprocess.DEVNULL, timeout=60)
    return folder
