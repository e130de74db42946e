"""What a server holds of the machine, to be the same after the chaos as before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.server import Server, shared_memory
from tests.faults import pids


@dataclass(frozen=True)
class Footprint:
    """File descriptors and resident MiB are those of `schwift serve` and the adapter; the rest is of all processes."""

    descriptors: int
    resident: float
    processes: int
    shared_memory: int


def measure(server: Server) -> Footprint:
    owners = [server.process.pid, pids.adapter(server)]
    return Footprint(
        descriptors=sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in owners),
        resident=sum(_resident(pid) for pid in owners),
        processes=len(pids.stubs(server)) + len(pids.tritons(server)) + len(owners),
        shared_memory=len(shared_memory(server.log.parent)),
    )


def _resident(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
