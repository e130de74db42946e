"""For how long nobody has asked a model."""

from __future__ import annotations

from adapter.workers import counters
from adapter.workers.shared_table import SharedTable


class IdleClock:
    """For how long nobody has asked a model, by the counters of all workers, as often as somebody looks.

    It costs requests nothing. Times are in seconds of one clock.
    """

    def __init__(self, table: SharedTable, name: str) -> None:
        self._table = table
        self._name = name
        # Unknown to a worker that takes the lead.
        self._calls: float | None = None
        self._since = 0.0

    def restart(self, now: float) -> None:
        """Count from `now` on."""
        self._calls = self._count()
        self._since = now

    def was_asked(self) -> bool:
        """Return whether somebody has asked since `restart`, or the first look, or asks now."""
        if self._calls is None:
            self._calls = self._count()
        return self._count() != self._calls or counters.total(self._table, self._name, counters.IN_FLIGHT) > 0

    def idle_seconds(self, now: float) -> float:
        """Return how long ago somebody asked when this was looked at, or the count began."""
        if self._calls is None or self.was_asked():
            self.restart(now)
        return now - self._since

    def _count(self) -> float:
        ways = (counters.ANSWERED, counters.FRONT_ANSWERED)
        return sum(counters.total(self._table, self._name, cell) for cell in ways)
