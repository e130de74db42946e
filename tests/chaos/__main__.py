"""`make chaos`: random faults into a real server under steady load, and what must hold all the while.

Every 200 has the numbers of its row. Every error is of the contract, and of a model that a fault hurts just then. After
each fault all is well within 10 seconds. In the end nothing has leaked. Writes chaos.md, chaos.json and chaos.png; exit
code 1 where any of it is not so. The same seed gives the same faults.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import click

from tests.bench.rig.results import Bar, Results, median
from tests.chaos import faults, subjects, timeline
from tests.chaos.faults import SETTINGS, SETTINGS_PACKED, Mark, World
from tests.chaos.footprint import Footprint, held
from tests.chaos.load import Judge, Load
from tests.chaos.schedule import NotMended, recovery_seconds, run, watch_life
from tests.support.servers.asking import metric
from tests.support.servers.server import leftovers, start, stop, stop_on_sigterm

_GROWTH_MIB = 20.0
_WARM_SECONDS = 5.0
_MOST_SHOWN = 40
# Closes by itself meanwhile: what clients left open, and what dead processes had.
_SETTLE_SECONDS = 5


@click.command(help=__doc__)
@click.option("--minutes", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Of faults.")
@click.option("--seed", default=1, show_default=True, help="Of the faults and their order.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("bench_results"), show_default=True)
@click.option("--packed", is_flag=True, help="Have models in one process, but for the one that is slowed.")
def main(minutes: float, seed: int, output: Path, packed: bool) -> None:
    settings = SETTINGS_PACKED if packed else SETTINGS
    stop_on_sigterm()
    judge, results = Judge(), Results()
    with tempfile.TemporaryDirectory(prefix="schwift-chaos-") as name:
        folder = Path(name)
        served = subjects.write(folder / "models", seed, packed)
        server = start(folder / "models", folder, **settings)
        load = Load(server.url, served.all, judge)
        world = World(server, folder / "models", settings, served, random.Random(seed), load.burst)
        try:
            began, before, after = asyncio.run(_chaos(world, load, minutes, judge))
            moved_out = metric(server, "schwift_pack_moved_out_total")
        finally:
            code = stop(server.process)
            if code != 0:
                judge.violations[f"schwift serve ended with {code}"] += 1
            for remains in leftovers(folder):
                judge.violations[f"left when all was over: {remains}"] += 1
        if judge.violations:
            (output / "chaos.log").parent.mkdir(parents=True, exist_ok=True)
            (output / "chaos.log").write_text(server.output, encoding="utf-8")
    _report(judge, recovery_seconds(served), before, after, results)
    if packed:
        results.table("Packs", ("models moved out",), [[f"{moved_out:.0f}"]])
    results.raw |= {"seed": seed, "minutes": minutes, "packed": packed, "moved_out": moved_out}
    results.raw |= {"faults": [_plain(mark, began) for mark in judge.marks]}
    results.raw |= {"violations": dict(judge.violations), "before": asdict(before), "after": asdict(after)}
    timeline.draw(judge.events, judge.marks, began, output / "chaos.png")
    results.finish(output, "chaos")
    sys.exit(0 if results.met else 1)


async def _chaos(world: World, load: Load, minutes: float, judge: Judge) -> tuple[float, Footprint, Footprint]:
    """When it began, and what the server held before and after."""
    await _warm_up(world)
    before = await asyncio.to_thread(held, world.server)
    began = time.monotonic()
    load.start()
    life = asyncio.create_task(watch_life(world, judge))

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - began:5.0f} s  {line}", err=True)

    try:
        await run(world, judge, began + 60 * minutes, say)
    except NotMended:
        say("the server is not well: no more faults")
    finally:
        life.cancel()
        await load.stop()
    await asyncio.sleep(_SETTLE_SECONDS)
    return began, before, await asyncio.to_thread(held, world.server, before)


async def _warm_up(world: World) -> None:
    """A burst and a reload: what is held after them is kept."""
    judge = Judge()
    load = Load(world.server.url, world.subjects.all, judge)
    load.start()
    for fault in (faults.burst, faults.reload):
        mark, inject = fault(replace(world, burst=load.burst, random=random.Random(0)))
        judge.marks.append(mark)
        await inject(mark)
    await asyncio.sleep(_WARM_SECONDS)
    await load.stop()
    await asyncio.sleep(_SETTLE_SECONDS)


def _report(judge: Judge, most_seconds: float, before: Footprint, after: Footprint, results: Results) -> None:
    kinds: dict[str, list[Mark]] = {}
    for mark in judge.marks:
        kinds.setdefault(mark.kind, []).append(mark)
    rows = []
    for kind, marks in sorted(kinds.items()):
        seconds = [mark.recovered - mark.ended for mark in marks if mark.recovered] or [float("inf")]
        errors = sum((mark.errors for mark in marks), Counter[str]())
        said = ", ".join(f"{code} {count}" for code, count in sorted(errors.items())) or "none"
        rows.append([kind, str(len(marks)), f"{median(seconds):.1f}", f"{max(seconds):.1f}", said])
    results.table("Faults", ("fault", "count", "median s until all is well", "worst s", "errors by code"), rows)
    right = sum(event.code == "ok" for event in judge.events)
    results.table("Answers", ("right", "errors", "wrong"), [[str(right), str(_errors(judge)), str(judge.wrong)]])
    if judge.violations:
        broken = [[what, str(count)] for what, count in judge.violations.most_common(_MOST_SHOWN)]
        results.table("Broken promises", ("what", "times"), broken)
    more = Counter(after.files) - Counter(before.files)
    if after.descriptors > before.descriptors:
        results.table("Open files", ("what", "more than before"), [[what, str(more[what])] for what in sorted(more)])
    slowest = max((mark.recovered - mark.ended if mark.recovered else float("inf")) for mark in judge.marks)
    results.bars += [
        Bar("wrong answers", judge.wrong, 0, False),
        Bar("broken promises", sum(judge.violations.values()), 0, False),
        Bar("worst recovery, s", slowest, most_seconds, False),
        Bar("file descriptors more than before", after.descriptors - before.descriptors, 0, False),
        Bar("processes more than before", after.processes - before.processes, 0, False),
        Bar("entries in /dev/shm more than before", after.shared_memory - before.shared_memory, 0, False),
        Bar("resident MiB more than before", after.resident - before.resident, _GROWTH_MIB, False),
    ]


def _errors(judge: Judge) -> int:
    return sum(event.code not in ("ok", "wrong") for event in judge.events)


def _plain(mark: Mark, began: float) -> dict[str, object]:
    """For JSON, in seconds since the beginning."""
    return {
        "kind": mark.kind,
        "target": mark.target,
        "began": mark.began - began,
        "ended": mark.ended - began,
        "recovered": mark.recovered - began if mark.recovered else None,
        "errors": dict(mark.errors),
    }


if __name__ == "__main__":
    main()
