"""The pipe over which the adapter has its supervisor kill processes: one order a line (converter/schema/wire.py).

Only the supervisor owns the processes that Triton started. It believes nothing it reads: what is no order is dropped,
and no more than a line is kept.
"""

from __future__ import annotations

import contextlib
import os

from converter.schema.wire import MOST_ORDER_BYTES, KillOrder, read_order

_CHUNK = 4096


class KillPipe:
    """Read the adapter's orders. Both ends are kept here, so an adapter that dies ends nothing; neither end blocks."""

    def __init__(self) -> None:
        self._read, self.write_end = os.pipe()
        for end in (self._read, self.write_end):
            os.set_blocking(end, False)
        self._line = b""
        # The rest of a line that was too long.
        self._skipping = False

    def fileno(self) -> int:
        """Return the end that can be read when an order came."""
        return self._read

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self.write_end)

    def read(self) -> list[KillOrder]:
        """Return the orders that came, each once; at most a chunk of 4 KiB is read, and nothing is waited for."""
        with contextlib.suppress(BlockingIOError):
            return self._lines(os.read(self._read, _CHUNK))
        return []

    def _lines(self, data: bytes) -> list[KillOrder]:
        *lines, rest = (self._line + data).split(b"\n")
        if lines and self._skipping:
            lines = lines[1:]
            self._skipping = False
        if len(rest) > MOST_ORDER_BYTES or self._skipping:
            rest, self._skipping = b"", True
        self._line = rest
        orders = [order for line in lines if (order := read_order(line)) is not None]
        return list(dict.fromkeys(orders))
