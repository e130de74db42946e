"""What a server holds of the machine, to be the same after the chaos as before it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from tests.chaos.open_files import open_files
from tests.support.servers import pids
from tests.support.servers.server import Server, shared_memory

# A second each.
_LOOKS = 12
# If something is left: shared memory that nobody has is given back after two looks, which may be a minute apart.
_MOST_LOOKS = 130


@dataclass(frozen=True)
class Footprint:
    """File descriptors and resident MiB are those of `schwift serve` and the adapter; the rest is of all processes.

    `files` is what each descriptor is, and how many there are, but for connections in use. Models that were moved out
    of their packs are not counted: each has a process more, and that process's shared memory.
    """

    files: dict[str, int]
    resident: float
    processes: int
    shared_memory: int

    @property
    def descriptors(self) -> int:
        return sum(self.files.values())


def held(server: Server, before: Footprint | None = None) -> Footprint:
    """What it never was without, over a while: probes, and who asks for its health, come and go.

    It is looked at no longer than until nothing is more than `before`, but for memory.
    """
    least = measure(server)
    for _ in range((_LOOKS if before is None else _MOST_LOOKS) - 1):
        if before is not None and _no_more(least, before):
            break
        time.sleep(1)
        look = measure(server)
        least = Footprint(
            files=min(least, look, key=lambda one: one.descriptors).files,
            resident=min(least.resident, look.resident),
            processes=min(least.processes, look.processes),
            shared_memory=min(least.shared_memory, look.shared_memory),
        )
    return least


def _no_more(now: Footprint, before: Footprint) -> bool:
    return (
        now.descriptors <= before.descriptors
        and now.processes <= before.processes
        and now.shared_memory <= before.shared_memory
    )


def measure(server: Server) -> Footprint:
    owners = [server.process.pid, pids.adapter(server)]
    return Footprint(
        files=dict(sum((open_files(pid) for pid in owners), Counter[str]())),
        resident=sum(pids.resident(pid) for pid in owners) / 2**20,
        processes=len(pids.stubs_at_home(server)) + len(pids.tritons(server)) + len(owners),
        shared_memory=len(shared_memory(server.log.parent)) - len(pids.alone(server)),
    )
