"""What the adapter's processes take: one, or workers and their parent together."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
import time

import pytest

from adapter.telemetry.own_processes import measure_processes


def measured() -> dict[str, float]:
    return {family.shown: figure for family, figure in measure_processes([]).items()}


def test_one_process_is_told_as_the_system_has_it() -> None:
    before = time.process_time()
    shown = measured()
    assert set(shown) == {
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
        "process_start_time_seconds",
    }  # fmt: skip
    # In clock ticks; children that ended come on top.
    assert shown["process_cpu_seconds_total"] >= before - 0.1
    assert shown["process_resident_memory_bytes"] > 10e6
    assert shown["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert time.time() - 24 * 3600 < shown["process_start_time_seconds"] <= time.time()


def test_open_descriptors_are_counted() -> None:
    before = measured()["process_open_fds"]
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(7)]
    try:
        assert measured()["process_open_fds"] == before + 7
    finally:
        for descriptor in opened:
            os.close(descriptor)


# Workers as prefork makes them: the first says what it sees of all, before and after the second ended.
WORKERS = """
import json, os, time
from adapter.telemetry.own_processes import measure_processes

pipe, ended = os.pipe(), os.pipe()
children = []
for worker in range(2):
    child = os.fork()
    if child == 0:
        descriptors = [os.open("/dev/null", os.O_RDONLY) for _ in range(10 * worker)]
        if worker == 1:
            while time.process_time() < 0.5:
                pass
            os.write(pipe[1], b"%8d" % os.getpid())
            time.sleep(30)
        pids = [os.getpid(), int(os.read(pipe[0], 8))]
        seen = [{family.shown: figure for family, figure in measure_processes(pids).items()}]
        os.kill(pids[1], 9)
        os.read(ended[0], 1)
        seen.append({family.shown: figure for family, figure in measure_processes(pids).items()})
        seen.append({family.shown: figure for family, figure in measure_processes([]).items()})
        # Some process of this machine, but none of its parent.
        seen.append({family.shown: figure for family, figure in measure_processes([pids[0], 1]).items()})
        print(json.dumps(seen), flush=True)
        os._exit(0)
    children.append(child)
os.waitpid(children[1], 0)
os.write(ended[1], b"x")
os.waitpid(children[0], 0)
"""


def test_workers_are_added_up_and_what_an_ended_one_took_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WORKERS)], capture_output=True, text=True, timeout=60, check=True
    )
    both, one, alone, strange = json.loads(done.stdout)
    cpu, fds, most = "process_cpu_seconds_total", "process_open_fds", "process_max_fds"
    assert both[cpu] >= 0.5
    assert one[cpu] >= both[cpu]
    assert alone[cpu] < both[cpu]
    assert both[fds] == 2 * alone[fds] + 10
    assert one[fds] == alone[fds]
    assert (both[most], one[most]) == (2 * alone[most], alone[most])
    resident = "process_resident_memory_bytes"
    assert both[resident] > one[resident] > alone[resident] > 0
    started = "process_start_time_seconds"
    assert both[started] == one[started] <= alone[started]
    assert (strange[fds], strange[resident]) == (one[fds], pytest.approx(one[resident], rel=0.2))
