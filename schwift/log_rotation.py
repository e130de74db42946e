"""Triton's own log, rotated: from start to start by name, and while it is written to by content."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import time
from itertools import pairwise
from pathlib import Path

MOST_BYTES = 10 * 1024 * 1024
_KEPT = 5
# How often a log that is written to is looked at.
PERIOD_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def set_aside(path: Path) -> None:
    """Rename a large log that nobody writes to: to `path`.1, the one before to `path`.2, and so on; five are kept."""
    if _is_large(path):
        _make_room(path)
        path.replace(_numbered(path, 1))


def cut(path: Path) -> None:
    """Move the content of a large log to `path`.1 while somebody has it open for appending, and empty it.

    A line that is written in the very moment between the two is lost. If the disk has no room for the copy, the oldest
    log makes room for the next try; without any, the content is given up.
    """
    if not _is_large(path):
        return
    copy = path.with_name(f"{path.name}.copy")
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        copy.unlink(missing_ok=True)
        old = [log for i in range(1, _KEPT + 1) if (log := _numbered(path, i)).is_file()]
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        if old:
            old[-1].unlink()
            return
    else:
        _make_room(path)
        copy.replace(_numbered(path, 1))
    os.truncate(path, 0)


def keep_cutting(path: Path) -> None:
    """Have a process of its own cut the log, on a full disk too, until this one ends, which is to become Triton."""
    parent = os.getpid()
    if os.fork() != 0:
        return
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A terminal's Ctrl-C is for the other one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while os.getppid() == parent:
            with contextlib.suppress(OSError):
                cut(path)
            time.sleep(PERIOD_SECONDS)
    finally:
        # Whatever happens: this process must not go on as the other one.
        os._exit(0)


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= MOST_BYTES


def _make_room(path: Path) -> None:
    """Make `path`.1 free."""
    for newer, older in reversed(list(pairwise(_numbered(path, i) for i in range(1, _KEPT + 1)))):
        if newer.is_file():
            newer.replace(older)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")
