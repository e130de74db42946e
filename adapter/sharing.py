"""What the adapter's worker processes share, made before they fork; one worker alone has it all to itself."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from adapter.limits import breaker
from adapter.limits.breaker import BreakerCells
from adapter.limits.rate_limit import Clients
from adapter.workers import counters
from adapter.workers.process_lock import ProcessLock
from adapter.workers.shared_snapshot import SharedSnapshot
from adapter.workers.shared_table import SharedTable


class SharedFlag:
    """A flag that all processes see which were forked since it was made."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Raise the flag for good."""
        self._byte[0] = 1

    def is_set(self) -> bool:
        """Return whether the flag was raised."""
        return self._byte[0] == 1


class SharedState:
    """Everything that `workers` processes share of the manifest's `models`, which are names."""

    def __init__(self, models: Sequence[str], workers: int = 1) -> None:
        self.table: SharedTable = counters.make_table(models, workers, breaker.WIDTH)
        self.snapshot = SharedSnapshot()
        self.breakers = BreakerCells(self.table, counters.WIDTH)
        # Who holds it keeps the models loaded, and tells the others.
        self.lead = ProcessLock("schwift-lead")
        # Whether all of them are to end, and not one alone.
        self.ending = SharedFlag()
        # Their quotas.
        self.clients = Clients(shared=workers > 1)
