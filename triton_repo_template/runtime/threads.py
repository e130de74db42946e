"""Thread pools: instances × threads ≤ cores, for whichever of the usual libraries a model uses.

Call `limit_environment` before a model's libraries are imported, `limit_loaded` after.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)

# 0 stands for what the process was started with, before the launcher.
_SLACK = Path("/proc/self/timerslack_ns")


def set_precise_timers(slack: Path = _SLACK) -> None:
    """Have this thread and those that it starts wake in time again: the launcher lets a stub's own threads be late.

    It is the first thread of its process, by which `slack` goes.
    """
    # Elsewhere than on Linux, or where it cannot be set, nobody has set it before.
    with contextlib.suppress(OSError):
        slack.write_text("0", encoding="ascii")


def available_cores(cgroup: str = "/sys/fs/cgroup/cpu.max") -> int:
    """Count the cores of the affinity mask, cut by a CPU quota (cgroup v2: `quota period` in microseconds)."""
    cores = len(os.sched_getaffinity(0))
    try:
        with open(cgroup, encoding="ascii") as file:
            quota, period = file.read().split()[:2]
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def threads_per_instance(instances: int, max_workers: int, cores: int) -> int:
    """Divide the cores among the instances: at least one thread each, at most `max_workers` in all."""
    return max(1, min(max_workers, cores) // max(1, instances))


def limit_environment(threads: int, environment: MutableMapping[str, str] | None = None) -> None:
    """Limit libraries that read the environment when they are imported."""
    target = os.environ if environment is None else environment
    for name in _VARIABLES:
        target[name] = str(threads)


def limit_loaded(threads: int) -> None:
    """Limit libraries that are imported already; numpy's BLAS always is, and only threadpoolctl reaches it."""
    numba = sys.modules.get("numba")
    if numba is not None:
        # First: it starts its own pool, and sets OpenMP's threads to NUMBA_NUM_THREADS meanwhile.
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    with contextlib.suppress(ImportError):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
