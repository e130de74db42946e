"""Triton's own log from start to start: it writes to an open file, which can be set aside only while it is down."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

_MOST_BYTES = 10 * 1024 * 1024
_KEPT = 5


def set_aside(path: Path) -> None:
    """A large log becomes `path`.1, the one before `path`.2, and so on; the fifth is the last."""
    if not path.is_file() or path.stat().st_size < _MOST_BYTES:
        return
    names = [path, *(path.with_name(f"{path.name}.{i}") for i in range(1, _KEPT + 1))]
    for newer, older in reversed(list(pairwise(names))):
        if newer.is_file():
            newer.replace(older)
