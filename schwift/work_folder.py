"""What a `schwift serve` leaves behind that was killed with -9, and how the next one removes it.

The kernel ends Triton and the adapter with their parent, but not a stopped one, and nobody removes shared memory.
So each serve has a folder of its own with a note in it, which it holds locked. The kernel opens the lock when the
process ends, however it ends: a note that can be locked is a dead one's, and no number of a process, which
may be another's by now, needs to be believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schwift import process_tree, shared_memory

_FOLDER = "schwift-serve-"
_NOTE = "serve.json"
_MARK = re.compile(r"schwift-[0-9a-f]{12}")


@dataclass(frozen=True)
class WorkFolder:
    """A serve's own folder, and the mark by which its processes and its shared memory are known."""

    path: Path
    mark: str


@contextlib.contextmanager
def make() -> Iterator[WorkFolder]:
    """Make a folder for the life of a serve, with its note; it is removed at the end."""
    mark = f"schwift-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory(prefix=_FOLDER, ignore_cleanup_errors=True) as name:
        path = Path(name)
        # In place under its name only once it is locked.
        with open(path / f"{_NOTE}.new", "w", encoding="utf-8") as note:
            fcntl.flock(note, fcntl.LOCK_EX)
            json.dump({"mark": mark, "pid": os.getpid()}, note)
            note.flush()
            os.rename(note.name, path / _NOTE)
            yield WorkFolder(path, mark)


def clear_dead() -> list[int]:
    """Remove what this user's killed serves left: processes, shared memory, folders. Return their process numbers."""
    dead = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        # Another user's, gone meanwhile, or no note of ours: not ours to judge.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if not folder.is_symlink() and folder.stat().st_uid == os.geteuid():
                dead += _clear(folder)
    return dead


def _clear(folder: Path) -> list[int]:
    with open(folder / _NOTE, encoding="utf-8") as note:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return []
        told = json.load(note)
        if not _MARK.fullmatch(str(told["mark"])):
            return []
        process_tree.end(told["mark"])
        shared_memory.clear(f"{told['mark']}-")
        shutil.rmtree(folder, ignore_errors=True)
        return [int(told["pid"])]
