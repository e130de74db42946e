"""The three regimes under rising load, each forced in turn and then chosen by the adapter: a table and a plot.

The load is closed: so many clients that each ask again as soon as they are answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tests.bench.frontends import ratio
from tests.bench.rig import models, wrk
from tests.bench.rig.results import Bar, Results, median
from tests.support.servers.server import serving

CLIENTS = (1, 2, 4, 16, 64, 256)
MODELS = (models.LOGREG, models.SLEEP, models.SLOW)
CHOSEN = "chosen"
FORCED = ("idle", "busy", "rush")
WAYS = (*FORCED, CHOSEN)
# No more than so much worse than the best of the three, in throughput and in the 99th percentile.
_WORST = 1.2

# A slow model gives few answers. The first request of a run goes alone, whatever follows, and makes those that come
# with it wait, once: so it is measured in one piece, in which that is less than one answer of a hundred for up to 64
# clients.
_SLOW_SECONDS = 12.0
# What a shared machine does for a second or two is in the 99th percentile of one round, and of its neighbour.
_LEAST_ROUNDS = 5

# (model, clients, way) → rounds
Runs = Mapping[tuple[str, int, str], list[wrk.Result]]


def measure(folder: Path, written: Path, seconds: float, rounds: int, results: Results) -> None:
    runs = _runs(folder, written, seconds, rounds)
    rows, worst = [], {"throughput": 0.0, "p99": 0.0}
    for model in MODELS:
        for clients in CLIENTS:
            cell = {way: runs[model, clients, way] for way in WAYS}
            rate = {way: median([run.per_second for run in cell[way]]) for way in WAYS}
            tail = {way: median([run.p99 for run in cell[way]]) for way in WAYS}
            # The best in throughput and the best in latency need not be the same one.
            slower = max(ratio(cell, way, CHOSEN) for way in FORCED)
            later = max(ratio(cell, CHOSEN, way, "p99") for way in FORCED)
            worst = {"throughput": max(worst["throughput"], slower), "p99": max(worst["p99"], later)}
            cells = [f"{rate[way]:.0f}, {tail[way]:.1f}" for way in WAYS]
            rows.append([model, str(clients), *cells, f"{slower:.2f}", f"{later:.2f}"])
    head = ("model", "clients", *(f"{way}: req/s, p99 ms" for way in WAYS), "best / chosen req/s", "chosen / best p99")
    results.table("Regimes of /predict_batched", head, rows)
    results.bars += [
        Bar("regimes: best / chosen throughput, worst case", worst["throughput"], _WORST, False),
        Bar("regimes: chosen / best p99, worst case", worst["p99"], _WORST, False),
    ]
    results.raw["regimes"] = [
        {"model": model, "clients": clients, "way": way, "rounds": [vars(run) for run in found]}
        for (model, clients, way), found in runs.items()
    ]


def _runs(folder: Path, written: Path, seconds: float, rounds: int) -> Runs:
    runs: dict[tuple[str, int, str], list[wrk.Result]] = {}
    body = {"features": [models.row()]}
    with contextlib.ExitStack() as stack:
        urls = {}
        for way in WAYS:
            settings = {} if way == CHOSEN else {"SCHWIFT_REGIME": way}
            urls[way] = stack.enter_context(serving(written, folder / way, **settings)).url
        for model in MODELS:
            for clients in CLIENTS:
                slow = model == models.SLOW
                for _ in range(1 if slow else max(rounds, _LEAST_ROUNDS)):
                    for way, url in urls.items():
                        target = f"{url}/predict_batched/{model}"
                        # Into the regime of this load, out of that of the load before.
                        wrk.run(target, body, clients, 1)
                        result = wrk.run(target, body, clients, max(seconds, _SLOW_SECONDS) if slow else seconds)
                        runs.setdefault((model, clients, way), []).append(result)
    return runs
