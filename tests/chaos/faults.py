"""The faults: each is injected for real, and says whom it may hurt, how, and when it is over."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.chaos.subjects import Subject, Subjects
from tests.support.servers import packed_models, pids
from tests.support.servers.asking import ask, get
from tests.support.servers.packed_models import HOST
from tests.support.servers.server import Server, environment

# What `schwift serve` is told: little, so that bounds and deadlines are met often.
DEADLINE_SECONDS = 2.0
MOST_REQUESTS = 64
SETTINGS: Mapping[str, str] = {
    "PREDICT_TIMEOUT_SECONDS": f"{DEADLINE_SECONDS:g}",
    "MAX_CONCURRENT_REQUESTS": str(MOST_REQUESTS),
    "CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "4",
}
# A broken version of a packed model is to be found out by the server, and not by the build.
SETTINGS_PACKED: Mapping[str, str] = {**SETTINGS, **packed_models.PACKED, "SCHWIFT_CHECK": "off"}
_BURST = 4 * MOST_REQUESTS
_COMMAND_SECONDS = 60.0
_REFUSED, _LATE = frozenset({503}), frozenset({503, 504})

# The new build does not fit on the disk that it is written to; what is there already stays in sight.
_ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=1m none "$SMALL"
mkdir "$SMALL/upper" "$SMALL/work"
mount -t overlay -o "lowerdir=$BUILDS,upperdir=$SMALL/upper,workdir=$SMALL/work" none "$BUILDS"
exec "$PYTHON" -m schwift reload --models "$MODELS"
"""


class FaultFailed(Exception):
    """What was injected did not do what it should: the sentence says what."""


@dataclass
class Mark:
    """One fault that happened. Times are monotonic seconds; `recovered` is 0 until then.

    Requests for `models` may meanwhile be answered with one of `statuses`; any other error breaks a promise. `victims`
    are processes that must be gone and replaced before it is over.
    """

    kind: str
    target: str
    models: frozenset[str]
    statuses: frozenset[int]
    began: float = 0.0
    ended: float = 0.0
    recovered: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    victims: list[int] = field(default_factory=list)


@dataclass
class World:
    """What faults act on. `burst` sends so many requests for a model at once and waits for all answers."""

    server: Server
    models: Path
    settings: Mapping[str, str]
    subjects: Subjects
    random: random.Random
    burst: Callable[[aiohttp.ClientSession, str, int], Awaitable[None]]
    _next: int = 0

    @property
    def faults(self) -> Sequence[Fault]:
        """Those that can happen to these models."""
        return ALL if self.subjects.texts is None else PACKED

    @property
    def names(self) -> frozenset[str]:
        return frozenset(subject.name for subject in self.subjects.all)

    def next_model(self) -> Subject:
        """In turn: a model that dies five times in ten minutes is left `failed`, as it should."""
        self._next += 1
        return self.subjects.turns[self._next % len(self.subjects.turns)]

    def find_process(self, subject: Subject, front: bool) -> tuple[str, frozenset[str]]:
        """Return the Triton model that answers for a subject, or its front, and whom the end of that hurts."""
        if not subject.packed:
            return subject.name if front else f"{subject.name}_direct", frozenset({subject.name})
        in_pack = self.names - self.moved_out() - {one.name for one in self.subjects.all if not one.packed}
        if subject.name in in_pack:
            return HOST.removesuffix("_direct") if front else HOST, in_pack
        return f"{subject.name}_alone", frozenset({subject.name})

    def moved_out(self) -> frozenset[str]:
        """Return the packed models that have a process of their own now."""
        packed = {subject.name for subject in self.subjects.all if subject.packed}
        listed = json.loads(get(self.server, "/available_models")[1])["models"]
        return frozenset(one["name"] for one in listed if one["name"] in packed and one.get("pack") is None)


# Injects at once; the answer is what ends it, after which `Mark.ended` is set.
Fault = Callable[[World], "tuple[Mark, Callable[[Mark], Awaitable[None]]]"]


def kill_a_process_of_a_model(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """SIGKILL to the model itself, or to a front. It takes Triton a second to notice, so calls may be late."""
    subject, front = world.next_model(), world.random.choice([False, True])

    async def inject(mark: Mark) -> None:
        mark.target, mark.models = await asyncio.to_thread(world.find_process, subject, front)
        pid = world.random.choice(await asyncio.to_thread(pids.stubs, world.server, mark.target))
        mark.victims.append(pid)
        pids.kill(pid)

    return Mark("process of a model killed", subject.name, frozenset(), _LATE), inject


def stop_a_process_of_a_model(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """SIGSTOP, and nobody to continue it: the model hangs."""
    subject = world.next_model()

    async def inject(mark: Mark) -> None:
        mark.target, mark.models = await asyncio.to_thread(world.find_process, subject, False)
        (pid,) = await asyncio.to_thread(pids.stubs, world.server, mark.target)
        mark.victims.append(pid)
        os.kill(pid, signal.SIGSTOP)

    return Mark("process of a model stopped", subject.name, frozenset(), _LATE), inject


def kill_triton(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    async def inject(mark: Mark) -> None:
        pid = await asyncio.to_thread(pids.triton, world.server)
        mark.victims.append(pid)
        pids.kill(pid)

    return Mark("Triton killed", "Triton", world.names, _REFUSED), inject


def stop_triton(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """For a while that is shorter or longer than the deadline."""
    seconds = world.random.uniform(0.5, 2.5) * DEADLINE_SECONDS

    async def inject(mark: Mark) -> None:
        pid = await asyncio.to_thread(pids.triton, world.server)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    return Mark("Triton stopped for a while", f"{seconds:.1f} s", world.names, _LATE), inject


def slow_model(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """Calls that take a part of the deadline, or more than it."""
    seconds = world.random.choice([0.2, 0.8, 1.5]) * DEADLINE_SECONDS

    async def inject(mark: Mark) -> None:
        world.subjects.slowed.slow(seconds)
        await asyncio.sleep(3 * DEADLINE_SECONDS)
        world.subjects.slowed.slow(0.0)

    return Mark("model slow", f"{seconds:.1f} s a call", frozenset({world.subjects.slowed.name}), _LATE), inject


def reload(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """A version with another factor; no request may fail, and the old numbers end with the command."""
    changed = world.subjects.changed

    async def inject(mark: Mark) -> None:
        factor = changed.factor + 1
        changed.write(factor)
        changed.expect(factor)
        world.subjects.renew()
        code, said = await _run(world, [sys.executable, "-m", "schwift", "reload", "--models", str(world.models)])
        if code != 0:
            raise FaultFailed(f"a reload of a good version ended with {code}: {said}")
        changed.settle()

    return Mark("reload", changed.name, frozenset(), frozenset()), inject


def reload_of_a_broken_version(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """The old one goes on."""
    changed = world.subjects.changed

    async def inject(mark: Mark) -> None:
        changed.write_broken()
        code, said = await _run(world, [sys.executable, "-m", "schwift", "reload", "--models", str(world.models)])
        changed.write(changed.factor)
        if code != 1 or changed.said_of_broken not in said:
            raise FaultFailed(f"a reload of a broken version ended with {code}: {said}")

    return Mark("reload of a broken version", changed.name, frozenset(), frozenset()), inject


def disk_full_on_a_build(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """A reload whose build does not fit, in a mount namespace of its own."""
    changed = world.subjects.changed

    async def inject(mark: Mark) -> None:
        before = (world.server.repository / "schwift.json").read_bytes()
        weights = changed.folder / "weights.bin"
        weights.write_bytes(bytes(2_000_000))
        changed.write(-1)
        small = world.models.parent / "small"
        small.mkdir(exist_ok=True)
        builds = world.server.repository.resolve().parent
        variables = {"SMALL": small, "BUILDS": builds, "PYTHON": sys.executable, "MODELS": world.models}
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _ON_A_SMALL_DISK]
        code, said = await _run(world, command, {name: str(value) for name, value in variables.items()})
        weights.unlink()
        changed.write(changed.factor)
        if code != 1 or "No space left on device" not in said:
            raise FaultFailed(f"a reload with a full disk ended with {code}: {said}")
        if (world.server.repository / "schwift.json").read_bytes() != before:
            raise FaultFailed("a reload with a full disk changed the repository")

    return Mark("disk full on a build", changed.name, frozenset(), frozenset()), inject


def burst(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """More requests at once than the bound of all models together."""
    name = world.random.choice(sorted(world.names))

    async def inject(mark: Mark) -> None:
        connector = aiohttp.TCPConnector(limit=_BURST)
        async with aiohttp.ClientSession(connector=connector) as session:
            await world.burst(session, name, _BURST)

    return Mark("burst over the bound", f"{_BURST} for {name}", world.names, _REFUSED), inject


def hang_in_a_pack(world: World) -> tuple[Mark, Callable[[Mark], Awaitable[None]]]:
    """A request that a packed model never ends with."""
    texts = world.subjects.texts
    assert texts is not None

    async def inject(mark: Mark) -> None:
        mark.target, mark.models = await asyncio.to_thread(world.find_process, texts, False)
        mark.victims += await asyncio.to_thread(pids.stubs, world.server, mark.target)
        answer = await asyncio.to_thread(ask, world.server, texts.name, [packed_models.ENDLESS_TEXT])
        if answer.status not in mark.statuses:
            raise FaultFailed(f"a request that hangs was answered with {answer.status}: {answer.body}")

    return Mark("model hangs in its pack", texts.name, frozenset(), _LATE), inject


ALL: tuple[Fault, ...] = (
    kill_a_process_of_a_model,
    stop_a_process_of_a_model,
    kill_triton,
    stop_triton,
    slow_model,
    reload,
    reload_of_a_broken_version,
    burst,
    disk_full_on_a_build,
)
# Those of a run with packs: at the second time in ten minutes the model is moved out, unless it was reloaded.
PACKED: tuple[Fault, ...] = (*ALL, hang_in_a_pack, hang_in_a_pack)


async def _run(world: World, command: list[str], more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The code and everything that was said."""
    folder = world.server.log.parent
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment(folder, {**world.settings, **(more or {})}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _COMMAND_SECONDS)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        raise FaultFailed(f"{' '.join(command[:4])} did not end within {_COMMAND_SECONDS:g} s") from None
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")
