"""The sha256 of a file's content, wherever it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from converter.errors import RepositoryError

_CHUNK = 1024 * 1024


def digest(content: bytes | Path) -> str:
    """RepositoryError where a file cannot be read."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    found = hashlib.sha256()
    try:
        with open(content, "rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    except OSError as error:
        raise RepositoryError(f"{content}: cannot be read: {error.strerror}") from error
    return found.hexdigest()
