"""What many models hold in memory, and what they cost while nobody asks."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from tests.bench.dense.turns import ROW
from tests.bench.footprint import pss_mb, tree, what
from tests.bench.rig import cpu
from tests.bench.rig.results import Bar, Results
from tests.support.servers.server import Server

_MODEL_MB = 80
_IDLE_PERCENT = 2.0
_IDLE_SECONDS = 30


def ask_each(server: Server, names: Sequence[str], endpoints: Sequence[str] = ("predict", "predict_batched")) -> None:
    for name in names:
        for endpoint in endpoints:
            if server.post(endpoint, name, [ROW]).status_code != 200:
                raise SystemExit(f"error: {name} does not answer")


def sizes(server: Server) -> dict[str, list[float]]:
    """The PSS in MB of each process of a server, by its kind."""
    found: dict[str, list[float]] = defaultdict(list)
    for pid in tree(server.process.pid):
        name = what(pid)
        kind = "models" if name.endswith("_direct") else "fronts" if name.startswith("stub of") else name
        found[kind].append(pss_mb(pid))
    return found


def show(title: str, found: dict[str, list[float]], results: Results) -> float:
    """Add the table of `sizes`, and return their sum."""
    rows = [[kind, str(len(each)), f"{sum(each):.0f}", f"{sum(each) / len(each):.1f}"] for kind, each in found.items()]
    total, count = sum(map(sum, found.values())), sum(map(len, found.values()))
    rows.append(["all", str(count), f"{total:.0f}", f"{total / count:.1f}"])
    results.table(title, ("processes", "number", "PSS MB", "each"), rows)
    results.raw[title] = {kind: sum(each) for kind, each in found.items()}
    return total


def isolated(server: Server, names: Sequence[str], results: Results) -> None:
    """Measure isolated models that were asked, and then are not."""
    ask_each(server, names)
    found = sizes(server)
    show(f"Memory, {len(names)} isolated models", found, results)
    a_model = (sum(found["models"]) + sum(found["fronts"])) / len(names)
    results.bars.append(Bar("an isolated model, all its processes, PSS MB", a_model, _MODEL_MB, False))
    idle(server, f"{len(names)} idle models, isolated", results)


def idle(server: Server, title: str, results: Results) -> None:
    """Measure the CPU time of everything while nobody asks."""
    pids = tree(server.process.pid)
    # Wake-ups and what else follows the last requests.
    time.sleep(_IDLE_SECONDS / 3)
    before = _cpu_seconds(pids)
    time.sleep(_IDLE_SECONDS)
    percent = 100 * (_cpu_seconds(pids) - before) / _IDLE_SECONDS
    results.bars.append(Bar(f"{title}: CPU of everything, % of a core", percent, _IDLE_PERCENT, False))


def _cpu_seconds(pids: Sequence[int]) -> float:
    return sum(map(sum, map(cpu.spent, pids)))
