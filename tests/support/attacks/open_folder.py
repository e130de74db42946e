"""A folder that every user of this machine can enter, as a home or /srv often is; pytest's own nobody can."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers.server import ROOT


@contextmanager
def open_folder() -> Iterator[Path]:
    """With `models/multiply` in it. Removed at the end."""
    with tempfile.TemporaryDirectory(prefix="schwift-abuse-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(ROOT / "models" / "multiply", folder / "models" / "multiply")
        yield folder
