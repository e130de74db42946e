"""A host's own folder in the repository, which Triton takes for another model once anything in it has changed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def hide_bytecode(model_folder: Path) -> None:
    """Set the times of what Python wrote into a model's folder back to its config's.

    Triton takes a folder that has changed for one to load anew, and would do so with the next load of an ensemble.
    """
    with contextlib.suppress(OSError):
        old = os.stat(model_folder / "config.pbtxt").st_mtime_ns
        for folder, _, files in os.walk(model_folder):
            if folder.endswith("__pycache__"):
                for name in files:
                    os.utime(os.path.join(folder, name), ns=(old, old))
                os.utime(folder, ns=(old, old))
            if os.stat(folder).st_mtime_ns > old:
                os.utime(folder, ns=(old, old))
