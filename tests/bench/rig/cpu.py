"""What a request costs in time of the processors, process by process: which of them is full, and of what.

Times are the kernel's, of its own and of the program's part; the client's are wrk's. While one connection asks, the
adapter's time is mostly its looking for the answer (adapter/batching/busy_poll.py).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

from tests.bench.rig import models, wrk
from tests.bench.rig.results import Results
from tests.support.servers import pids
from tests.support.servers.server import Server

_CONNECTIONS = (1, 16, 64, 256)
_MODELS = (models.LOGREG, models.MLP)

# Seconds of the program and of the kernel for it.
Times = tuple[float, float]


def measure(server: Server, seconds: float, results: Results) -> None:
    rows = []
    for model in _MODELS:
        for connections in _CONNECTIONS:
            url, body = f"{server.url}/predict/{model}", {"features": [models.row()]}
            wrk.run(url, body, connections, 1)
            owners = {"adapter": pids.adapter(server), "Triton": pids.triton(server)}
            owners["stub"] = pids.stubs(server, f"{model}_direct")[0]
            before = _look(owners)
            found = wrk.run(url, body, connections, seconds)
            after = _look(owners)
            spent = [(after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after]
            requests = found.per_second * seconds
            cells = [f"{1e6 * user / requests:.0f} + {1e6 * kernel / requests:.0f}" for user, kernel in spent]
            busy = sum(map(sum, spent)) / seconds
            rows.append([model, str(connections), f"{found.per_second:.0f}", *cells, f"{busy:.1f}"])
    head = ("model", "connections", "req/s", "adapter", "Triton", "stub", "client", "cores busy")
    results.table("Microseconds of a processor for a request: the program's + the kernel's", head, rows)


def _look(owners: Mapping[str, int]) -> dict[str, Times]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    # wrk is the only child that has ended meanwhile.
    return {**{name: spent(pid) for name, pid in owners.items()}, "client": (usage.ru_utime, usage.ru_stime)}


def spent(pid: int) -> Times:
    """Read what a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick
