"""One text that one process writes and its siblings read: what the leading worker knows of the models.

A shared mapping, made before the workers fork, with a sequence lock: the number in front is odd while the text is being
written, and changes with each text. A writer that dies half-way leaves it odd, and the next writer goes on from there.
"""

from __future__ import annotations

import mmap

# In front of the text: the number, and the text's length.
_HEAD = 16


class SharedSnapshot:
    """Share one text of at most `size` bytes."""

    def __init__(self, size: int = 1024 * 1024) -> None:
        # Pages that are never written cost nothing.
        self._map = mmap.mmap(-1, _HEAD + size)
        # Each is written in one piece, which struct does not promise.
        self._head = memoryview(self._map)[:_HEAD].cast("Q")
        self._size = size

    def publish(self, text: bytes) -> int:
        """Write a text and return its number, one process at a time; raise ValueError if the text is too long."""
        if len(text) > self._size:
            raise ValueError(f"a text of {len(text)} bytes is longer than {self._size}")
        writing = self._head[0] | 1
        self._head[0] = writing
        self._map[_HEAD : _HEAD + len(text)] = text
        self._head[1] = len(text)
        self._head[0] = writing + 1
        return writing + 1

    def read(self, seen: int) -> tuple[int, bytes] | None:
        """Return a text other than number `seen`, and its number; None if there is none, or it is being written."""
        before = self._head[0]
        if before == seen or before & 1:
            return None
        text = self._map[_HEAD : _HEAD + self._head[1]]
        return (before, text) if self._head[0] == before else None
