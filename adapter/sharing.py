"""What the adapter's worker processes have in common, made before they fork; one worker alone has it all to itself."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from adapter.limits.breaker import Boards
from adapter.limits.rate_limit import Clients
from adapter.workers import counters
from adapter.workers.process_lock import Lock
from adapter.workers.shared_snapshot import Bulletin
from adapter.workers.shared_table import Board


class SharedFlag:
    """Whether something is so, as all processes see it that were forked since."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._byte[0] = 1

    def is_set(self) -> bool:
        return self._byte[0] == 1


class Sharing:
    """`models` are the manifest's names; `workers` is how many processes will share it."""

    def __init__(self, models: Sequence[str], workers: int = 1) -> None:
        self.board: Board = counters.make_board(models, workers)
        self.bulletin = Bulletin()
        self.breakers = Boards(self.board, counters.BREAKER)
        # Who holds it keeps the models loaded, and tells the others.
        self.lead = Lock("schwift-lead")
        # Whether all of them are to end, and not one alone.
        self.ending = SharedFlag()
        # Their quotas.
        self.clients = Clients(shared=workers > 1)
