"""A model's file, opened once, so that what is checked is what is loaded, whatever its name comes to mean meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from .errors import LoadError

# Large, since the thread that hashes waits up to 5 ms for the interpreter's lock after each, while others import.
_CHUNK = 4 * 1024 * 1024
_MOST_TRIES = 3


class CheckedFile:
    """A regular file of the repository, open until `close`, and the sha256 that it had when it was built.

    Without one, as older releases built repositories, any bytes are right.
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        """Open the file. Raises LoadError if it cannot be, or is a link, a pipe or a folder."""
        self._label = path.name
        self._sha256 = sha256
        self._verified: tuple[int, ...] | None = None
        try:
            # Without blocking, as opening a pipe would.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._refuse(f"cannot be opened as a regular file ({error.strerror})") from None
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise self._refuse("is no regular file")

    @property
    def path(self) -> str:
        """A path to the open file itself, for this process and those that it starts, until it is closed.

        joblib hands a mapped array over to its own processes by the path that it was loaded from.
        """
        return f"{os.path.realpath('/proc/self')}/fd/{self._descriptor}"

    def verify(self) -> None:
        """Raise LoadError if the file's bytes are not those that were built; unless it was touched they are known."""
        if self._sha256 is None:
            return
        for _ in range(_MOST_TRIES):
            seen = self._look()
            if seen == self._verified:
                return
            if self._hash() != self._sha256:
                raise self._refuse("is not the file that was built: its sha256 is another")
            # Of before it was hashed, so that a change meanwhile is seen in the next look.
            self._verified = seen
        raise self._refuse("changes while it is loaded")

    def close(self) -> None:
        """Close the file; arrays that are mapped from it stay."""
        os.close(self._descriptor)

    def _look(self) -> tuple[int, ...]:
        """Return what changes with every write. A rename over its name changes that too, though no byte."""
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _hash(self) -> str:
        found = hashlib.sha256()
        offset, size = 0, os.fstat(self._descriptor).st_size
        # No more than it has now: a file that grows would have no end.
        chunk = memoryview(bytearray(min(size, _CHUNK)))
        while offset < size and (got := os.preadv(self._descriptor, [chunk], offset)):
            found.update(chunk[:got])
            offset += got
        return found.hexdigest()

    def _refuse(self, what: str) -> LoadError:
        return LoadError(f"{self._label} {what}: build the repository again with `schwift build-repo`")
