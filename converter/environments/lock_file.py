"""`requirements.lock` beside a model: the packages that its environment was made of, for the next build and machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from converter.schema.model import LOCK_FILES, LOCK_NAME

_HEADER = """\
# Written by schwift: the packages of this model's environment, for its next build, here or elsewhere.
# Keep it with the model. It is made anew when the requirements change.
"""
_MARK = "# of: "
_MOST_BYTES = 1024 * 1024


def hash_request(lines: Sequence[str], python: str) -> str:
    """Return what a lock is found by: the hash of the requirements, the Python ("3.12") and the platform."""
    parts = json.dumps([sorted(lines), python, sysconfig.get_platform()])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def hash_lock(lock: Sequence[str], python: str) -> str:
    """Return the key of an environment."""
    return hash_request(lock, python)


def read_lock(folder: Path, request: str) -> tuple[str, ...]:
    """Read the lock beside a model; empty if there is none, or it is of another request."""
    try:
        with open(folder / LOCK_NAME, encoding="utf-8") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    if f"{_MARK}{request}" not in lines:
        return ()
    return tuple(line for line in lines if line and not line.startswith("#"))


def write_lock(folder: Path, request: str, lock: Sequence[str]) -> None:
    """Write the lock beside a model if it differs, and the folder can be written."""
    if read_lock(folder, request) == tuple(lock):
        return
    text = f"{_HEADER}{_MARK}{request}\n" + "".join(f"{line}\n" for line in lock)
    new = folder / LOCK_FILES[1]
    with contextlib.suppress(OSError):
        new.write_text(text, encoding="utf-8")
        os.replace(new, folder / LOCK_NAME)
