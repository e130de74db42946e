"""A source model while it is served: its codec, its state, its numbers on the board."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapter.codec.codec import Codec
from adapter.lifecycle.model_state import ModelState
from adapter.workers import counters
from adapter.workers.counters import Cell
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import ModelEntry


class Model:
    """One source model, while it is served; its numbers are on the board.

    Triton's Python backend takes a process for dead that has not said for a second that it lives: it may have been
    stopped, or the clock may have leapt ahead. Where it goes on, what it answers to the call that was given up is read
    as the answer to the next one, and so on. `whole` says whether all of the model's processes are there: when a death
    is told, one that died has been gone for a second.
    """

    def __init__(
        self,
        entry: ModelEntry,
        table: SharedTable,
        worker: int,
        whole: Callable[[ModelEntry], bool],
        changed: Callable[[], None],
    ) -> None:
        def gauge(cell: int) -> Cell:
            return Cell(table, entry.name, worker, cell)

        self.entry = entry
        self.codec = Codec(entry)
        self.status = ModelState(changed)
        # How often a worker saw a process of it dead.
        self._deaths = gauge(counters.DEATHS_SEEN)
        self._deaths_mended = self.deaths
        self._undead = gauge(counters.UNDEAD_SEEN)
        # How many of those are over.
        self.undead_mended = self.undead
        self._whole = whole
        # How often it was loaded, and when this worker heard of the last time: of the monotonic clock.
        self.loads = 0
        self.since = time.monotonic()
        # How often processes were ended that had calls.
        self.losses = 0
        # Another is served in its place, whose numbers are on the same row of the board.
        self.replaced = False
        self.recoveries = {reason: gauge(counters.RECOVERIES + i) for i, reason in enumerate(counters.RECOVERY_REASONS)}
        # Processes that could not be ended.
        self.stuck = gauge(counters.STUCK)
        # Bytes that its processes hold; 0 where that is not known.
        self.memory = gauge(counters.MEMORY)

    @property
    def ready(self) -> bool:
        return self.status.ready

    @property
    def deaths(self) -> int:
        """Seen by any worker."""
        return int(self._deaths.total())

    @property
    def deaths_mended(self) -> int:
        return self._deaths_mended

    @property
    def undead(self) -> int:
        """Deaths that any worker saw of processes that were there."""
        return int(self._undead.total())

    @property
    def may_be_undead(self) -> bool:
        """Whether one of its processes was called dead that was there."""
        return self.undead != self.undead_mended

    @property
    def dead(self) -> bool:
        """Triton goes on calling a model ready whose process is gone; a failed call is how we learn of it."""
        return self.deaths > self._deaths_mended

    @property
    def over_memory(self) -> bool:
        """Whether its processes hold more than its config allows."""
        most = self.entry.spec.max_memory_mb
        return most is not None and self.memory.mine > most * 1024 * 1024

    def loaded(self, loads: int) -> None:
        """It was loaded again, which is so often by now."""
        self.loads = loads
        self.since = time.monotonic()

    def mark_dead(self, loads: int) -> None:
        """A process of this model died: not ready until the keeper has loaded it again.

        `loads` is what it was when the call began: a process of before is replaced already, or being replaced. One that
        is unavailable, since Triton does not answer, may be there still when Triton does.
        """
        if self.replaced or self.status.state not in ("ready", "unavailable") or loads != self.loads:
            return
        if not self.dead:
            # Whoever was in its call tells of the same death.
            self._deaths.add(1)
            self._undead.add(self._whole(self.entry))
        if self.ready:
            self.status.become("unavailable", "a process of the model died; it is loaded again")

    def mend(self, deaths: int, undead: int) -> None:
        """So many of the deaths are over, and so many of the undead: what was loaded since is another process."""
        self._deaths_mended = deaths
        self.undead_mended = undead
