"""How long a model's calls take, learned from those that ended. The batcher writes it, and its policies read it."""

from __future__ import annotations

from adapter.workers import counters
from adapter.workers.counters import WorkerCounters
from converter.schema.manifest import ModelEntry

# The way to the model and back takes about as long as a call that is quicker than this.
QUICK_SECONDS = 0.001
# How much the newest call counts in the running mean, and in `needed` if it was quicker.
_WEIGHT = 0.1
# What a call is taken to need that had no answer in time, in times of what it was given.
_LONGER = 1.5


class MeanTime:
    """Learn what calls take on the whole, in seconds; 0 until one has ended."""

    __slots__ = ("mean",)

    def __init__(self) -> None:
        self.mean = 0.0

    def learn(self, seconds: float) -> None:
        """Take the time of a call that ended into account."""
        self.mean += _WEIGHT * (seconds - self.mean)


class CallTimes(MeanTime):
    """Learn what one model's calls take, in seconds; 0 until a call has ended.

    `mean` is what the model takes for a call. `needed` is the time from sending a call to its answer, however long it
    waits in Triton for another: slower calls are believed at once, quicker ones by and by.
    """

    __slots__ = ("_call_rows", "_calls", "_calls_before", "_histogram", "_instances", "_most_rows", "needed")

    def __init__(self, entry: ModelEntry, worker_counters: WorkerCounters) -> None:
        super().__init__()
        self.needed = 0.0
        self._instances = entry.spec.instances
        self._most_rows = entry.direct_max_rows
        self._calls = worker_counters.cell(entry.name, counters.CALLS)
        self._calls_before = self._calls.mine
        self._call_rows = worker_counters.cell(entry.name, counters.CALL_ROWS)
        self._histogram = worker_counters.calls(entry.name, "direct")

    @property
    def calls(self) -> int:
        """How many calls these were."""
        return int(self._calls.mine - self._calls_before)

    def record(self, seconds: float, rows: int, beside: int) -> None:
        """Record a call that ended. `beside` is how many it began beside, in excess of one for each instance."""
        self._calls.add(1)
        self._call_rows.add(rows)
        self._histogram.took(seconds)
        # It waited for those: how long the model takes is a part of its time, and of a full one not known.
        if not beside or rows < self._most_rows:
            share = self._instances / (self._instances + beside)
            self.mean += _WEIGHT * (seconds * share - self.mean)

    def record_part(self, seconds: float, call_seconds: float, rows: int) -> None:
        """Record one model's part of an answered call, for which the model needed `seconds` of what the call took."""
        self._calls.add(1)
        self._call_rows.add(rows)
        self._histogram.took(seconds)
        self.mean += _WEIGHT * (seconds - self.mean)
        known = self.needed
        self.needed = call_seconds if call_seconds > known else known + _WEIGHT * (call_seconds - known)

    def record_answer(self, seconds: float) -> None:
        """Record what an answer took."""
        known = self.needed
        self.needed = seconds if seconds > known else known + _WEIGHT * (seconds - known)

    def record_miss(self, seconds: float) -> None:
        """Record a call that ran into its deadline, and would have taken longer."""
        self.needed = max(self.needed, _LONGER * seconds)
