"""The sha256 of a file's content, wherever it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from converter.errors import RepositoryError

_CHUNK = 1024 * 1024


def digest(content: bytes | Path) -> str:
    """Return the sha256 in hex. Raises RepositoryError if a file cannot be read."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    found = hashlib.sha256()
    try:
        descriptor = os.open(content, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            left = os.fstat(descriptor).st_size
            # No more than it has now: a file that grows would have no end.
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                found.update(chunk)
                left -= len(chunk)
    except OSError as error:
        raise RepositoryError(f"{content}: cannot be read: {error.strerror}") from error
    return found.hexdigest()
