"""Large bodies: how much of them may be held at a time, and where.

Room is taken as the bytes come, and kept until their request is answered.
"""

from __future__ import annotations

import asyncio
import os

from adapter.codec.helper_messages import write
from adapter.errors import Overloaded

# What is smaller is bounded well enough by the number of requests.
LARGE_BYTES = 256 * 1024
# There is room for so many of the largest body that is taken, in each worker.
_MOST_LARGEST = 4
_NO_ROOM = "Too many large requests are in flight; try again shortly, or send fewer rows a request."


class LargeBody:
    """A body of megabytes in anonymous memory, as its pieces came. Close it in the end.

    Among the interpreter's objects it would be joined and copied while everybody else waits, and leave holes that the
    allocator keeps.
    """

    def __init__(self, room: LargeBodies) -> None:
        self._room = room
        self._size = 0
        self.memory = os.memfd_create("schwift-body", os.MFD_CLOEXEC)

    def __len__(self) -> int:
        """Return how many bytes have come so far."""
        return self._size

    def append(self, piece: bytes) -> None:
        """Add what came; raise Overloaded if there is no room for it."""
        self._room.acquire(len(piece))
        self._size += len(piece)
        write(self.memory, piece)

    def close(self) -> None:
        """Give the memory and the room back."""
        os.close(self.memory)
        self._room.release(self._size)


class LargeBodies:
    """Bound the bytes of all large bodies in a worker; `largest` is the limit of one of them, in bytes."""

    def __init__(self, largest: int) -> None:
        self._room = _MOST_LARGEST * largest
        self._turn = asyncio.Lock()

    async def pace(self) -> None:
        """Wait until it is this body's turn to be read on: one piece of one of them for each turn of the event loop."""
        async with self._turn:
            await asyncio.sleep(0)

    def check(self, size: int) -> None:
        """Check, without taking room, that a body of so many bytes has room now; raise Overloaded if it has none."""
        if size > self._room:
            raise Overloaded(_NO_ROOM)

    def begin(self) -> LargeBody:
        """Return a body without any bytes yet; raise Overloaded if the process has no file descriptor for it."""
        try:
            return LargeBody(self)
        except OSError as error:
            raise Overloaded(_NO_ROOM) from error

    def acquire(self, size: int) -> None:
        """Take room for so many bytes; raise Overloaded if there is not so much."""
        self.check(size)
        self._room -= size

    def release(self, size: int) -> None:
        """Give the room of so many bytes back."""
        self._room += size
