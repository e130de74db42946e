"""How much of large bodies may be in memory at a time: as numbers they take some twenty times their size.

Room is taken as the bytes come, and kept until their request is answered.
"""

from __future__ import annotations

from adapter.errors import Overloaded

# What is smaller is bounded well enough by the number of requests.
LARGE_BYTES = 256 * 1024
# Of the largest body that is taken, so many at a time in each worker.
_MOST_LARGEST = 4


class LargeBodies:
    """`largest` in bytes is the limit of one body."""

    def __init__(self, largest: int) -> None:
        self._room = _MOST_LARGEST * largest

    def check(self, size: int) -> None:
        """Raise Overloaded where a body of so many bytes has no room now; takes none."""
        if size > self._room:
            raise Overloaded("Too many large requests are in flight; try again shortly, or send fewer rows a request.")

    def enter(self, size: int) -> int:
        """Take room for so many bytes, to be given back with `leave`. Raises Overloaded."""
        self.check(size)
        self._room -= size
        return size

    def leave(self, size: int) -> None:
        self._room += size
