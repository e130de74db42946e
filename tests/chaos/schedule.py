"""Fault after fault from a seed, each over before the next one: what came of each, and how long it took to mend."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence

import aiohttp

from tests.chaos.faults import Fault, FaultFailed, Mark, World
from tests.chaos.load import Judge
from tests.chaos.subjects import Subjects
from tests.support.servers import pids

RECOVERY_SECONDS = 10.0
# A pack's process is that of all its models, and ends for each: from the second time on its load waits, at most 4 s.
PACKED_RECOVERY_SECONDS = RECOVERY_SECONDS + 4.0
# Beyond the bar: to know how long it took, and then to give up.
_GIVE_UP_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LIVE_SECONDS = 5.0


class NotMended(Exception):
    """A fault did not pass; more of them would say nothing."""


async def run(world: World, judge: Judge, until: float, say: Callable[[str], None]) -> None:
    """Faults until then. Raises NotMended."""
    for fault in _decks(world.faults, world.random):
        await asyncio.sleep(world.random.uniform(0.5, 2.0))
        if time.monotonic() >= until:
            return
        await _happen(fault, world, judge)
        mark = judge.marks[-1]
        errors = ", ".join(f"{code} x {count}" for code, count in sorted(mark.errors.items())) or "no errors"
        say(f"{mark.kind} ({mark.target}): well after {mark.recovered - mark.ended:.1f} s; {errors}")


def recovery_seconds(subjects: Subjects) -> float:
    """Return how long it may take at most until all is well after a fault."""
    return RECOVERY_SECONDS if subjects.texts is None else PACKED_RECOVERY_SECONDS


async def _happen(fault: Fault, world: World, judge: Judge) -> None:
    mark, inject = fault(world)
    mark.began = time.monotonic()
    judge.marks.append(mark)
    processes = len(await asyncio.to_thread(pids.stubs_at_home, world.server))
    try:
        await inject(mark)
    except FaultFailed as error:
        judge.violations[str(error)] += 1
    mark.ended = time.monotonic()
    for of_late in judge.steadiness.values():
        of_late.begin()
    mark.recovered = await _mended(world, judge, mark, processes)
    most = recovery_seconds(world.subjects)
    if mark.recovered - mark.ended > most:
        judge.violations[f"{mark.kind} ({mark.target}): well after more than {most:g} s"] += 1


async def _mended(world: World, judge: Judge, mark: Mark, processes: int) -> float:
    """When all was well again; raises NotMended."""
    whole = 0.0
    while not whole or not (answering := judge.recovered(mark)):
        now = time.monotonic()
        if now > mark.ended + _GIVE_UP_SECONDS:
            judge.violations[f"{mark.kind} ({mark.target}): not well after {_GIVE_UP_SECONDS:g} s"] += 1
            raise NotMended
        if not whole and await _whole(world, mark, processes):
            whole = now
        await asyncio.sleep(_POLL_SECONDS)
    return max(answering, whole)


async def _whole(world: World, mark: Mark, processes: int) -> bool:
    """Readiness says so, and every process that was there is there again, or another in its place.

    A model that is moved out of its pack over a fault has one more.
    """
    if any(pids.alive(pid) for pid in mark.victims):
        return False
    if len(await asyncio.to_thread(pids.stubs_at_home, world.server)) != processes:
        return False
    if await asyncio.to_thread(pids.alone, world.server) != sorted(await asyncio.to_thread(world.moved_out)):
        return False
    timeout = aiohttp.ClientTimeout(total=_LIVE_SECONDS)
    ready = f"{world.server.url}/health/ready"
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(ready) as answer:
        return answer.status == 200


async def watch_life(world: World, judge: Judge) -> None:
    """`/health/live` answers whatever happens."""
    timeout = aiohttp.ClientTimeout(total=_LIVE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(f"{world.server.url}/health/live") as answer:
                    if answer.status != 200:
                        judge.violations[f"/health/live said {answer.status}"] += 1
            except (aiohttp.ClientError, asyncio.TimeoutError):
                judge.violations[f"/health/live did not answer within {_LIVE_SECONDS:g} s"] += 1
            await asyncio.sleep(1.0)


def _decks(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    """All of them in some order, again and again: none is left out for long."""
    while True:
        deck = list(faults)
        chance.shuffle(deck)
        yield from deck
