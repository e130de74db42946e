"""The content of a file, wherever it is: its bytes, and their sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from converter.errors import RepositoryError

_CHUNK = 1024 * 1024


def digest(content: bytes | Path) -> str:
    """Return the sha256 in hex. Raises RepositoryError if a file cannot be read."""
    found = hashlib.sha256()
    if isinstance(content, bytes):
        found.update(content)
        return found.hexdigest()
    try:
        descriptor = os.open(content, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            for chunk in read_chunks(file):
                found.update(chunk)
    except OSError as error:
        raise RepositoryError(f"{content}: cannot be read: {error.strerror}") from error
    return found.hexdigest()


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Read a file in pieces, and no more of it than it has now: one that grows would have no end."""
    left = os.fstat(file.fileno()).st_size
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        yield chunk
        left -= len(chunk)
