"""How many cores a worker has for itself."""

from __future__ import annotations

import os
from pathlib import Path

# In cgroup v2: `quota period`, in microseconds.
_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def count_own_cores(workers: int, limit: Path = _LIMIT) -> int:
    """Return how many of the cores that this process may use are for each of so many workers; 0 for less than one.

    A container's limit of processor time cuts them.
    """
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = limit.read_text(encoding="ascii").split()[:2]
        cores = min(cores, int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        # No limit is `max`, and there is no such file in the outermost group.
        pass
    return int(cores // workers)
