"""Circuit breakers: while calls fail, refuse them at once, and let one through now and then to see.

There is one for each model and one for Triton. Closed, it counts what happened in the last seconds; open, everything
is refused for a time that doubles from one opening to the next; half-open, one request at a time goes through, of all
workers together, until enough of them in a row were answered.

Each worker counts in cells of its own; the state is everybody's, and changes under a lock. Times are the kernel's
monotonic clock, which is the same in all processes and does not jump with the wall clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Literal

from adapter.errors import BreakerOpen
from adapter.workers.process_lock import ProcessLock
from adapter.workers.shared_table import SharedTable

State = Literal["closed", "open", "half_open"]
STATES: tuple[State, ...] = ("closed", "open", "half_open")

# Opens on so many calls in the window, this part of them failed; or on connections that fail in a row.
WINDOW_SECONDS = 10
LEAST_CALLS = 20
LEAST_FAILED = 0.5
CONNECT_FAILURES = 5
FIRST_OPEN_SECONDS = 1.0
# Closes after so many answered probes.
PROBES = 3
# The open time is up to this part longer, so that many servers do not come back in step.
_JITTER = 0.2
# Until a probe is back, the others are told to come again after so long.
_PROBE_SECONDS = 1.0

# A worker's cells of a breaker: its window, a second, its calls and its failures at a time.
_SLOTS = WINDOW_SECONDS + 1
_SLOT = 3
_WINDOW_WIDTH = _SLOTS * _SLOT

# Everybody's cells.
_STATE, _UNTIL, _OPEN_SECONDS, _ANSWERED, _PROBE, _PROBE_UNTIL, _CLEARED, _OPENED = range(8)
WIDTH = _WINDOW_WIDTH + 8
_CLOSED, _OPEN, _HALF_OPEN = 0.0, 1.0, 2.0


class BreakerCells:
    """What breakers share between worker processes: cells of a table, in each row from `at` on, and a lock."""

    def __init__(self, table: SharedTable, at: int) -> None:
        self._table = table
        self._window = slice(at, at + _WINDOW_WIDTH)
        self._state = slice(at + _WINDOW_WIDTH, at + WIDTH)
        self.lock = ProcessLock("schwift-breakers")

    def state(self, name: str) -> memoryview[float]:
        """Return the cells that are everybody's."""
        return self._table.row(name, 0)[self._state]

    def windows(self, name: str) -> list[memoryview[float]]:
        """Return the window of each worker."""
        return [row[self._window] for row in self._table.rows(name)]


class Breaker:
    """One worker's part of a breaker. `longest` is the most seconds that the breaker stays open."""

    def __init__(
        self,
        boards: BreakerCells,
        name: str,
        worker: int,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._lock = boards.lock
        self._cells = boards.state(name)
        self._all = boards.windows(name)
        self._mine = self._all[worker]
        self._longest = longest
        self._clock = clock
        self._chance = chance
        # The slot of the current second, and when that ends.
        self._at = 0
        self._slot_ends = 0.0
        self._refused = 0

    @property
    def closed(self) -> bool:
        """Whether every request may pass."""
        return self._cells[_STATE] == _CLOSED

    @property
    def state(self) -> State:
        """The state of the breaker, by the word that metrics show."""
        return STATES[int(self._cells[_STATE])]

    @property
    def opened(self) -> int:
        """How often the breaker has opened."""
        return int(self._cells[_OPENED])

    def admit(self, seconds: float) -> int:
        """Ask for a probe that takes at most so many seconds, if the breaker is not closed.

        Return the probe's number, to be given to `succeeded`, `failed` or `release`; 0 if the breaker has closed
        meanwhile.

        Raises: BreakerOpen if no probe may go now.
        """
        with self._lock.held():
            now, cells = self._clock(), self._cells
            if cells[_STATE] == _CLOSED:
                return 0
            wait = cells[_UNTIL] - now if cells[_STATE] == _OPEN else 0.0
            if wait <= 0 and now < cells[_PROBE_UNTIL]:
                wait = _PROBE_SECONDS
            if wait > 0:
                raise BreakerOpen("Too many calls failed lately; try again shortly.", retry_after=wait)
            cells[_STATE] = _HALF_OPEN
            cells[_PROBE] += 1
            # A worker that dies with it does not keep the others out for ever.
            cells[_PROBE_UNTIL] = now + seconds + _PROBE_SECONDS
            return int(cells[_PROBE])

    def succeeded(self, now: float, probe: int = 0) -> None:
        """Record a call that was answered."""
        if now >= self._slot_ends:
            self._turn(now)
        self._mine[self._at + 1] += 1
        if self._refused:
            self._refused = 0
        if probe:
            self._settle_probe(probe, answered=True)

    def failed(self, now: float, probe: int = 0, connecting: bool = False) -> None:
        """Record a call without an answer. `connecting` says that there was not even a connection."""
        if now >= self._slot_ends:
            self._turn(now)
        self._mine[self._at + 1] += 1
        self._mine[self._at + 2] += 1
        self._refused = self._refused + 1 if connecting else 0
        if probe:
            self._settle_probe(probe, answered=False)
        elif self.closed and (self._refused >= CONNECT_FAILURES or self._window_fails(now)):
            with self._lock.held():
                if self.closed:
                    self._open(now)

    def release(self, probe: int) -> None:
        """Let another probe go: this one ended and says nothing, since the client left or sent nonsense."""
        with self._lock.held():
            if probe == self._cells[_PROBE]:
                self._cells[_PROBE_UNTIL] = 0.0

    def reset(self) -> None:
        """Close the breaker: what it guards was made anew."""
        with self._lock.held():
            self._close()

    def _settle_probe(self, probe: int, answered: bool) -> None:
        with self._lock.held():
            cells = self._cells
            # One that took so long that another went in its place says nothing any more.
            if probe != cells[_PROBE] or cells[_STATE] != _HALF_OPEN:
                return
            cells[_PROBE_UNTIL] = 0.0
            if not answered:
                self._open(self._clock())
                return
            cells[_ANSWERED] += 1
            if cells[_ANSWERED] >= PROBES:
                self._close()

    def _open(self, now: float) -> None:
        cells = self._cells
        seconds = min(self._longest, cells[_OPEN_SECONDS] * 2 or FIRST_OPEN_SECONDS)
        cells[_OPEN_SECONDS] = seconds
        cells[_UNTIL] = now + min(self._longest, seconds * (1 + _JITTER * self._chance()))
        cells[_ANSWERED] = 0.0
        cells[_PROBE_UNTIL] = 0.0
        cells[_OPENED] += 1
        cells[_STATE] = _OPEN

    def _close(self) -> None:
        cells = self._cells
        cells[_OPEN_SECONDS] = cells[_ANSWERED] = cells[_PROBE_UNTIL] = 0.0
        # Begins anew: what failed before counts no more, in no worker.
        cells[_CLEARED] = self._clock()
        self._refused = 0
        cells[_STATE] = _CLOSED

    def _turn(self, now: float) -> None:
        """Begin a new second, in the slot of one that left the window."""
        second = int(now)
        self._at = second % _SLOTS * _SLOT
        self._slot_ends = second + 1.0
        if self._mine[self._at] != second:
            self._mine[self._at] = second
            self._mine[self._at + 1] = self._mine[self._at + 2] = 0.0

    def _window_fails(self, now: float) -> bool:
        oldest, cleared = now - WINDOW_SECONDS, self._cells[_CLEARED]
        calls = failures = 0.0
        for row in self._all:
            for at in range(0, _WINDOW_WIDTH, _SLOT):
                if row[at] >= oldest and row[at] > cleared:
                    calls += row[at + 1]
                    failures += row[at + 2]
        return calls >= LEAST_CALLS and failures >= LEAST_FAILED * calls
