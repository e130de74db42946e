"""What a host is at, noted where its end cannot erase it: which model it calls, and which of them made it grow most.

One small file for each process, by its number, in a folder that `schwift serve` makes; without that nothing is noted.
The adapter reads it (adapter/lifecycle/packs/), after the process has died, or while it does not answer:

    0: when the call began, by the machine's monotonic clock, 0 between calls (float64); 8: bytes of the model's key
    (uint32); 12: the key. 256: bytes of the largest growth (int64); 264: bytes of its key (uint32); 268: the key.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

# As converter/schema/wire.py has it.
NOTES_VARIABLE = "SCHWIFT_NOTES"
_SIZE, _GROWTH_AT = 512, 256
_BEGAN, _CALL, _GROWTH = struct.Struct("<d"), struct.Struct("<dI"), struct.Struct("<qI")


class Notes:
    """The notes of this process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._map = _open(environment.get(NOTES_VARIABLE, ""))
        self._key = b""
        self._most = 0

    def begin(self, key: bytes) -> None:
        """Note that a model is called."""
        if self._map is None:
            return
        if key != self._key:
            # No call is noted while the key is half written.
            self._key = key
            self._map[_CALL.size : _GROWTH_AT] = key[: _GROWTH_AT - _CALL.size].ljust(_GROWTH_AT - _CALL.size, b"\0")
        _CALL.pack_into(self._map, 0, time.monotonic(), min(len(key), _GROWTH_AT - _CALL.size))

    def end(self) -> None:
        """Note that the call is over."""
        if self._map is not None:
            _BEGAN.pack_into(self._map, 0, 0.0)

    def grew(self, key: bytes, size: int) -> None:
        """Note by how many bytes the process has grown for a model, if that is the most of all."""
        if self._map is None or size <= self._most:
            return
        self._most = size
        key = key[: _SIZE - _GROWTH_AT - _GROWTH.size]
        self._map[_GROWTH_AT + _GROWTH.size : _GROWTH_AT + _GROWTH.size + len(key)] = key
        _GROWTH.pack_into(self._map, _GROWTH_AT, size, len(key))


def _open(folder: str) -> mmap.mmap | None:
    if not folder:
        return None
    try:
        descriptor = os.open(Path(folder) / str(os.getpid()), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        # The host serves all the same; who is to blame for its end is then told by the calls that it had.
        return None
    try:
        os.ftruncate(descriptor, _SIZE)
        return mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)
