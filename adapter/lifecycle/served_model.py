"""A source model while it is served: its codec, its state, its incarnation, its numbers in the shared table.

Each load of a model is an incarnation, a number that grows; whoever calls the model notes which one it called. Deaths
are then kept as "the highest incarnation of which this is known", by each worker in a cell of its own: to tell of one
again, or late, changes nothing, and a load mends by counting up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from adapter.codec.codec import Codec
from adapter.lifecycle.model_state import ModelState
from adapter.lifecycle.sleep.idle_clock import IdleClock
from adapter.workers import counters
from adapter.workers.counters import Cell
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import ModelEntry

_log = logging.getLogger("schwift.adapter")

# A page that several processes share counts in each by its part: so much more may count in one once others have ended.
_SHARED_BYTES = 32 * 1024 * 1024
# The incarnation of what Triton has when the first worker begins. A cell that is 0 knows of none.
FIRST_INCARNATION = 1


@dataclass(frozen=True)
class LastFailure:
    """The last error of a model's own that a request met in this worker; `at` is in seconds since the epoch."""

    at: float
    code: str
    reason: str


class Model:
    """One source model, in one worker.

    Triton's Python backend takes a process for dead that has not said for a second that it lives: it may have been
    stopped, or the clock may have leapt ahead. If it goes on, what it answers to the call that was given up is read as
    the answer to the next one, and so on: the incarnation is tainted. `whole` says whether all of the model's processes
    are there: when a death is told, one that died has been gone for a second. `changed` is ModelState's.
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
        self._dead = gauge(counters.DEAD_INCARNATION)
        self._tainted = gauge(counters.TAINTED_INCARNATION)
        self._whole = whole
        # The least that its processes held in this incarnation, if the model was moved out of its pack; 0 if not known.
        self._least_memory = 0
        self.incarnation = FIRST_INCARNATION
        # When this worker heard of that: of the monotonic clock.
        self._heard = time.monotonic()
        # The highest incarnation whose calls this worker has given up, since its processes were ended.
        self.abandoned = 0
        self.recoveries = {reason: gauge(counters.RECOVERIES + i) for i, reason in enumerate(counters.RECOVERY_REASONS)}
        # Processes that could not be ended.
        self.stuck = gauge(counters.STUCK)
        # Bytes that its processes hold; 0 where that is not known.
        self.memory = gauge(counters.MEMORY)
        # How often it was moved out of its pack.
        self.moved_out = gauge(counters.MOVED_OUT)
        # Requests that wait for it to be woken.
        self.wanted = gauge(counters.WANTED)
        self.idle_clock = IdleClock(table, entry.name)
        self.last_failure: LastFailure | None = None

    @property
    def ready(self) -> bool:
        """Whether requests may be sent to the model."""
        return self.status.ready

    @property
    def pack(self) -> str | None:
        """The name of the pack whose process the model shares; None if it has its own."""
        return None

    @property
    def sleeps(self) -> bool:
        """Whether requests have to wait until the model is woken."""
        return self.status.asleep

    @property
    def available(self) -> bool:
        """Whether requests are answered, if only after the model was woken."""
        return self.ready or self.sleeps

    @property
    def dead(self) -> bool:
        """Whether any worker knows of a dead process. Triton goes on calling such a model ready."""
        return self._dead.highest() >= self.incarnation

    def is_tainted(self, incarnation: int) -> bool:
        """Return whether an answer to a call of this incarnation may be another call's."""
        return self._tainted.highest() >= incarnation

    @property
    def over_memory(self) -> bool:
        """Whether its processes hold more than its config allows.

        In its pack what the model itself held counted, without the interpreter and libraries; so if it was moved out,
        what its process has grown by since it was loaded counts.
        """
        most = self.entry.spec.max_memory_mb
        if most is None:
            return False
        free = self._least_memory and self._least_memory + _SHARED_BYTES
        return self.memory.mine - free > most * 1024 * 1024

    def note_memory(self, size: int) -> None:
        """Note how many bytes its processes hold; 0 if that is not known."""
        self.memory.set(size)
        if self.entry.is_moved_out and size:
            self._least_memory = min(size, self._least_memory or size)

    def begin_incarnation(self, incarnation: int) -> None:
        """Count what answers from now on as this incarnation; what is known of those before is over."""
        if incarnation != self.incarnation:
            self.incarnation = incarnation
            self._least_memory = 0
            self._heard = time.monotonic()

    def incarnation_at(self, moment: float) -> int:
        """Return the incarnation at a moment of the monotonic clock, in seconds; 0 is any before the present one."""
        return self.incarnation if moment >= self._heard else 0

    def report_dead(self, incarnation: int, by: str) -> None:
        """Tell that a process of an incarnation died: the model is not ready until the reconciler has loaded it again.

        `by` says for the log who noticed. A process of an incarnation before is replaced already, or being replaced. A
        model that is unavailable, since Triton does not answer, may be there still when Triton does.
        """
        if incarnation != self.incarnation or self.status.state not in ("ready", "unavailable"):
            return
        if not self.dead:
            # Whoever else was in its call tells of the same death.
            self._dead.set(incarnation)
            if self._whole(self.entry):
                self._tainted.set(incarnation)
            _log.debug("model %s: a process died, noticed by %s", self.entry.name, by)
        if self.ready:
            self.status.become("unavailable", "a process of the model died; it is loaded again")
