"""An Outliving that notes what it is told of processes that a test makes up."""

from __future__ import annotations

from collections.abc import Collection

from adapter.lifecycle.reaper import Processes, Reaper
from converter.schema.manifest import ModelEntry


class NotedOutliving(Reaper):
    """`there` are the processes of each Triton model; `told` is what was unloaded, and whether in good order."""

    def __init__(self, there: dict[str, tuple[int, ...]]) -> None:
        super().__init__(None, None, 1)
        self.there = there
        self.told: list[tuple[Processes, bool]] = []
        self.passes = 0

    async def processes(self, entry: ModelEntry, used: Collection[str] = ()) -> Processes:
        models, fronts = (
            () if not name or name in used else self.there.get(name, ()) for name in (entry.direct, entry.front)
        )
        return Processes(models, fronts)

    def unloaded(self, processes: Processes, orderly: bool = False) -> None:
        if processes != Processes():
            self.told.append((processes, orderly))

    def end_due(self) -> None:
        self.passes += 1
