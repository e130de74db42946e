"""A lock between the adapter's worker processes, made before they fork."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


class ProcessLock:
    """A lock between processes, which the kernel opens when its holder dies."""

    def __init__(self, name: str) -> None:
        self._file = os.memfd_create(name)
        self._held = False

    def try_acquire(self) -> bool:
        """Return whether this process holds the lock, now or since before."""
        if not self._held:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            self._held = True
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the length of a few statements."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
