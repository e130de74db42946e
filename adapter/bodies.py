"""How much of large bodies may be in memory at a time: as numbers they take some twenty times their size.

A place is taken before the body is read, and kept until its request is answered.
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

    def enter(self, size: int) -> int:
        """Take room for a body of so many bytes, to be given back with `leave`. Raises Overloaded."""
        if size > self._room:
            raise Overloaded("Too many large requests are in flight; try again shortly, or send fewer rows a request.")
        self._room -= size
        return size

    def leave(self, size: int) -> None:
        self._room += size
