"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def count_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Count the cores of this process, cut by a container's CPU quota (cgroup v2: `quota period` in microseconds)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = cgroup.read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
