"""Numbers that the adapter's worker processes share: counters that add up, and gauges that bounds are held by.

One anonymous shared mapping, made before the workers fork. Each worker writes its own cells only, so nothing is
locked; whoever wants a total adds them up. A worker that dies leaves its counts behind, and the one that takes its
place goes on with them.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

_CELL = 8


class SharedTable:
    """A row of `width` float64 cells for each name and worker, all 0 at first; `spare` rows are for names to come."""

    def __init__(self, names: Sequence[str], width: int, workers: int = 1, spare: int = 0) -> None:
        self.workers = workers
        self._width = width
        self._rows = {name: i for i, name in enumerate(names)}
        self._most = max(1, len(names) + spare)
        # Pages that are never written cost nothing.
        self._cells = memoryview(mmap.mmap(-1, self._most * width * workers * _CELL)).cast("d")

    @property
    def names(self) -> Sequence[str]:
        """The names in the order of their rows."""
        return list(self._rows)

    @property
    def room(self) -> int:
        """How many more names could have a row."""
        return self._most - len(self._rows)

    def add(self, names: Sequence[str]) -> list[str]:
        """Give a row to those of the names that have none, and return these. All workers do so in the same order.

        Raises: ValueError if there is no room for so many.
        """
        new = [name for name in names if name not in self._rows]
        if len(new) > self.room:
            raise ValueError(f"the table has room for {self.room} more names, not {len(new)}")
        for name in new:
            self._rows[name] = len(self._rows)
        return new

    def row(self, name: str, worker: int) -> memoryview[float]:
        """Return a worker's cells of a name, to read and write."""
        start = (worker * self._most + self._rows[name]) * self._width
        return self._cells[start : start + self._width]

    def rows(self, name: str) -> list[memoryview[float]]:
        """Return the cells of a name, of every worker."""
        return [self.row(name, worker) for worker in range(self.workers)]
