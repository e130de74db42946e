"""Numbers that the adapter's worker processes share: counters that add up, and gauges that bounds are held by.

One anonymous shared mapping, made before the workers fork. Each worker writes its own cells only, so nothing is
locked; whoever wants a total adds them up. A worker that dies leaves its counts behind, and the one that takes its
place goes on with them.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

_CELL = 8


class Board:
    """A row of `width` float64 cells for each name and worker, all 0 at first."""

    def __init__(self, names: Sequence[str], width: int, workers: int = 1) -> None:
        self.workers = workers
        self._width = width
        self._rows = {name: i for i, name in enumerate(names)}
        size = max(1, len(names)) * width * workers * _CELL
        self._cells = memoryview(mmap.mmap(-1, size)).cast("d")

    def row(self, name: str, worker: int) -> memoryview[float]:
        """A worker's cells of a name, to read and write."""
        start = (worker * len(self._rows) + self._rows[name]) * self._width
        return self._cells[start : start + self._width]

    def rows(self, name: str) -> list[memoryview[float]]:
        """The cells of a name, of every worker."""
        return [self.row(name, worker) for worker in range(self.workers)]
