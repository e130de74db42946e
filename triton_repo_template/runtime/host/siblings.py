"""What the processes of a host tell each other: which models each has in memory, and which are to be put away in all.

Triton hands a call to one process. So each writes a file, and the others read it: those of a host with several
instances once a second, and the one that takes their place beside them at a reload, when it begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# A process's file is `<host>.<process id>.<any>.loaded`.
_SUFFIX = ".loaded"
# How often the processes of a host read each other's files, and how long it stays there what is to be put away.
LOOK_SECONDS = 1.0
_KEPT_SECONDS = 600.0


class Sibling(NamedTuple):
    """Another process of a host: the bytes of each model in its memory, and when which was put away (monotonic)."""

    pid: int
    members: Mapping[str, int]
    put_away: Mapping[str, float]


class Siblings:
    """The other processes of a host, which has so many `instances`.

    `folder` is that of the notes. Without one, those of several instances meet in a folder of their own; a single one
    tells nobody, nor does one that can write nowhere.
    """

    def __init__(self, folder: str | None, host: str, instances: int = 1) -> None:
        self._meets = folder is None and instances > 1
        if self._meets:
            folder = _make_folder()
        self._folder = None if folder is None else Path(folder)
        self._host = host
        # Not one that a process of the same number left.
        self._own_name = f"{host}.{os.getpid()}.{secrets.token_hex(4)}{_SUFFIX}"
        self._lock = threading.Lock()
        self._members: Mapping[str, int] | None = None
        self._put_away: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._left = False
        self.look_seconds = LOOK_SECONDS if instances > 1 and self._folder is not None else None

    def list_loaded(self) -> list[str]:
        """List what the others have in memory; nothing of one that has ended, since a model may have ended it."""
        return sorted({key for sibling in self.read() for key in sibling.members})

    def read(self) -> list[Sibling]:
        """Read what the others have told that have not ended."""
        return [sibling for path in self._list_files() if (sibling := _read(path)) is not None]

    def tell(self, members: Mapping[str, int]) -> None:
        """Tell the others which models this process has in memory, and how many bytes each takes."""
        with self._lock:
            if members != self._members:
                self._members = dict(members)
                self._write()

    def tell_put_away(self, key: str, now: float) -> None:
        """Have the others put a model away that is not asked after `now` (monotonic)."""
        if self.look_seconds is None:
            return
        with self._lock:
            kept = {each: when for each, when in self._put_away.items() if now - when < _KEPT_SECONDS}
            self._put_away = {**kept, key: now}
            self._write()

    def find_put_away(self) -> dict[str, float]:
        """Find what the others have put away since the last look, and when."""
        found: dict[str, float] = {}
        for sibling in self.read():
            for key, when in sibling.put_away.items():
                if when > self._seen.get(key, 0.0):
                    found[key] = max(when, found.get(key, when))
        self._seen |= found
        return found

    def leave(self) -> None:
        """Tell nobody any more: this process ends as it should. The last one removes the folder where they met."""
        if self._folder is None:
            return
        with self._lock, contextlib.suppress(OSError):
            self._left = True
            (self._folder / self._own_name).unlink(missing_ok=True)
            if self._meets:
                # Not if others have files there.
                self._folder.rmdir()

    def _list_files(self) -> Iterator[Path]:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.suffix == _SUFFIX and path.name.startswith(f"{self._host}.") and path.name != self._own_name:
                    yield path

    def _write(self) -> None:
        # The last one before may have removed the folder.
        if self._folder is None or self._left or (self._meets and _make_folder() is None):
            return
        pid = os.getpid()
        told = {"pid": pid, "start": start_of(pid), "members": self._members or {}, "put_away": self._put_away}
        with contextlib.suppress(OSError):
            path = self._folder / self._own_name
            fresh = path.with_suffix(".fresh")
            fresh.write_text(json.dumps(told), encoding="utf-8")
            fresh.replace(path)


def _read(path: Path) -> Sibling | None:
    try:
        told = json.loads(path.read_bytes())
        pid, start = int(told["pid"]), int(told["start"])
        # Once containers are started anew, others have the same numbers.
        if start_of(pid) != start:
            path.unlink(missing_ok=True)
            return None
        return Sibling(pid, _numbers(told["members"], int), _numbers(told["put_away"], float))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the machine did; None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    # Its end may be one of which nobody has taken notice yet.
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _numbers(told: Any, kind: Any) -> dict[str, Any]:
    return {str(key): kind(value) for key, value in told.items()}


def _make_folder() -> str | None:
    """Make the folder in which the processes meet that one Triton has started; None if another user has it."""
    folder = Path(tempfile.gettempdir()) / f"schwift-packs-{os.getppid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid == os.getuid() and not found.st_mode & 0o077 and not folder.is_symlink():
            return str(folder)
    return None
