"""What the adapter's processes take, under the names that Prometheus has for any process (`process_…`)."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter.telemetry.metric_text import Family

_CPU = Family(
    "process_cpu_seconds",
    "counter",
    "CPU time of the adapter: of all its processes, those that ended included; of the helper for large bodies then.",
)
_RESIDENT = Family(
    "process_resident_memory_bytes",
    "gauge",
    "Resident memory of the adapter's processes but the helper for large bodies; pages they share count in each.",
)
_OPEN_FDS = Family("process_open_fds", "gauge", "Open file descriptors of the adapter's workers, added up.")
_MAX_FDS = Family("process_max_fds", "gauge", "Most file descriptors of the adapter's workers, added up.")
_STARTED = Family(
    "process_start_time_seconds", "gauge", "When the first of the adapter's processes started, since 1970."
)
PROCESS_FAMILIES = (_CPU, _RESIDENT, _OPEN_FDS, _MAX_FDS, _STARTED)

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Places in /proc/…/stat, from the state on.
_PARENT, _USER_TIME, _CHILDREN_TIME, _START, _RESIDENT_PAGES = 1, 11, 13, 19, 21
_TRIES = 3


@dataclass(frozen=True)
class _Stat:
    """One process: its parent, its CPU time and that of its children that ended, its start; times in clock ticks."""

    parent: int
    own_ticks: int
    ended_ticks: int
    started: int
    resident_pages: int


def measure_processes(workers: Sequence[int]) -> dict[Family, float]:
    """Return what this process takes, or these worker processes, of whom it is one, and their parent.

    `workers` is empty if there is none besides this process. It is some system calls for each. What the system does
    not tell is left out.
    """
    pids, stats = _read_all(workers)
    if not stats:
        return {}
    figures = {
        _CPU: sum(stat.own_ticks + stat.ended_ticks for stat in stats) / _TICKS,
        _RESIDENT: float(sum(stat.resident_pages for stat in stats) * _PAGE_BYTES),
    }
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        figures[_OPEN_FDS] = float(sum(_count_descriptors(pid) for pid in pids))
        if most != resource.RLIM_INFINITY:
            # They all have it from their parent.
            figures[_MAX_FDS] = float(most * len(pids))
        figures[_STARTED] = _booted() + min(stat.started for stat in stats) / _TICKS
    except OSError:
        pass
    return figures


def _read_all(workers: Sequence[int]) -> tuple[list[int], list[_Stat]]:
    """Return the workers' numbers, and what is told of them and of their parent."""
    if not workers:
        own = _read(os.getpid())
        return [os.getpid()], [] if own is None else [own]
    parent = os.getppid()
    for _ in range(_TRIES):
        first = _read(parent)
        found = {pid: stat for pid in workers if (stat := _read(pid)) is not None and stat.parent == parent}
        last = _read(parent)
        # When a worker ends, its time becomes its parent's, and must be counted neither twice nor not at all: a
        # counter that goes down looks like a start from zero.
        if first is not None and last is not None and first.ended_ticks == last.ended_ticks:
            return list(found), [last, *found.values()]
    return [], []


def _read(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(") ")[2].split()
    user, system, ended_user, ended_system = map(int, fields[_USER_TIME : _CHILDREN_TIME + 2])
    return _Stat(
        int(fields[_PARENT]),
        user + system,
        ended_user + ended_system,
        int(fields[_START]),
        int(fields[_RESIDENT_PAGES]),
    )


def _count_descriptors(pid: int) -> int:
    folder = _PROC / str(pid) / "fd"
    # The kernel tells how many since 6.2; before, they are listed.
    return folder.stat().st_size or len(os.listdir(folder))


def _booted() -> float:
    """Return when the machine started, in seconds since 1970."""
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise OSError("/proc/stat has no btime")
