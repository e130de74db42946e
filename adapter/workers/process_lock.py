"""A lock between the adapter's worker processes, made before they fork."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


class ProcessLock:
    """The kernel opens it when its holder dies."""

    def __init__(self, name: str) -> None:
        self._file = os.memfd_create(name)
        self._held = False

    def try_acquire(self) -> bool:
        """Whether this process holds it, now or since before."""
        if not self._held:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            self._held = True
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """For the length of a few statements."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
