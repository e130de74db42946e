"""What hosts noted of the model that they were in (runtime/host/notes.py), read once they are dead or do not answer."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

_CALL = struct.Struct("<dI")
# Where the key ends, and what a host says of its memory begins.
_KEY_END = 256
_SIZE = 512


class HostNote(NamedTuple):
    """A process's note: the key of the model that it is in, empty if it is in none."""

    pid: int
    key: str


class HostNotes:
    """Read the notes in a folder; without one there are none. `alive` tells whether a process goes on."""

    def __init__(self, folder: Path | None, alive: Callable[[int], bool]) -> None:
        self._folder = folder
        self._alive = alive

    def take_culprits(self, pids: Collection[int]) -> list[str]:
        """Return the keys of models in which a process was that died, or one of these, which do not answer.

        What is said of dead ones is not said again.
        """
        if self._folder is None:
            return []
        found = []
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.iterdir()):
                note = _read(path)
                if note is None:
                    continue
                dead = not self._alive(note.pid)
                if note.key and (dead or note.pid in pids):
                    found.append(note.key)
                if dead:
                    path.unlink(missing_ok=True)
        return found


def _read(path: Path) -> HostNote | None:
    try:
        said = path.read_bytes()
        pid = int(path.name)
    except (OSError, ValueError):
        return None
    if len(said) != _SIZE:
        return None
    began, size = _CALL.unpack_from(said)
    key = said[_CALL.size : _CALL.size + min(size, _KEY_END - _CALL.size)].decode(errors="replace")
    return HostNote(pid, key if began else "")
