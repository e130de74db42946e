"""One process at a time changes a folder of the cache. The lock is the kernel's, so a killed process leaves none."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from converter.errors import RuntimeMissing

_LOCK = "lock"


@contextlib.contextmanager
def lock_folder(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Make the folder and keep others who lock it waiting. Raises RuntimeMissing if it cannot be made or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise RuntimeMissing(
            f"{folder} cannot be written: {error.strerror}: name another folder (SCHWIFT_CACHE)"
        ) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is at work in {folder}: waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
