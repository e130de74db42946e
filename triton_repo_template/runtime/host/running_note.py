"""What a host is busy with, where its end cannot erase it: a file that the adapter reads when the process is gone.

    0    when the call of a model began (time.monotonic(), float64); 0 while there is none
    8    the model's key: its length (uint32) and its text (244 bytes, cut)
    256  the bytes of the largest growth that one model has caused (int64)
    264  that model's key, as above

Numbers are little-endian. A load is noted as a call is, unless there is a call meanwhile.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

NOTES_VARIABLE = "SCHWIFT_NOTES"
NOTE_BYTES = 512
_WHEN = struct.Struct("<d")
_GROWTH = struct.Struct("<q")
_KEY = struct.Struct("<I244s")
_MOST_KEY_BYTES = 244


def key_block(key: str) -> bytes:
    """Return a key as it stands in a note."""
    text = key.encode()[:_MOST_KEY_BYTES]
    return _KEY.pack(len(text), text)


class RunningNote:
    """The note of this process, in `folder`; without one, or if it cannot be written there, nobody reads it."""

    def __init__(self, folder: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calling = False
        # When the load began, and of what.
        self._load: tuple[float, bytes] | None = None
        self._path = Path(folder) / str(os.getpid()) if folder else None
        self._map = mmap.mmap(-1, NOTE_BYTES)
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._map = _open(self._path)

    def begin(self, block: bytes, now: float) -> None:
        """Note that a call of the model with this key block has begun."""
        with self._lock:
            self._calling = True
            self._map[8:256] = block
            _WHEN.pack_into(self._map, 0, now)

    def end(self) -> None:
        """Note that the call has ended."""
        with self._lock:
            self._calling = False
            self._show_load()

    def begin_load(self, block: bytes) -> None:
        """Note that a load has begun."""
        with self._lock:
            self._load = self._clock(), block
            if not self._calling:
                self._show_load()

    def end_load(self) -> None:
        """Note that the load has ended."""
        with self._lock:
            self._load = None
            if not self._calling:
                self._show_load()

    def note_growth(self, block: bytes, size: int) -> None:
        """Note the largest growth that one model has caused."""
        self._map[264:512] = block
        _GROWTH.pack_into(self._map, 256, size)

    def remove(self) -> None:
        """Remove the note: this process ends as it should."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _show_load(self) -> None:
        if self._load is None:
            _WHEN.pack_into(self._map, 0, 0.0)
            return
        self._map[8:256] = self._load[1]
        _WHEN.pack_into(self._map, 0, self._load[0])


def _open(path: Path) -> mmap.mmap:
    # Not one that a process of the same number left, which may be read just now.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, NOTE_BYTES)
        return mmap.mmap(descriptor, NOTE_BYTES)
    finally:
        os.close(descriptor)
