"""A reconciler and a reloader, each with what it needs and a test does not care for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from adapter.backend.host_client import HostClient
from adapter.backend.protocol import InferenceBackend
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.lifecycle.health_check import HealthCheck
from adapter.lifecycle.liveness import ModelLiveness
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.packs.host_notes import HostNotes
from adapter.lifecycle.packs.pack_control import PackControl
from adapter.lifecycle.packs.pack_keeper import PackKeeper
from adapter.lifecycle.packs.strikes import Strikes
from adapter.lifecycle.reaper import Reaper
from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.recovery import Recovery
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.registry_sync import RegistrySync
from adapter.lifecycle.sample_replay import SampleReplay
from adapter.lifecycle.smoke_test import SmokeTest
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from adapter.limits.breakers import Breakers
from adapter.reload.reloader import Reloader
from adapter.sharing import SharedState
from adapter.workers.process_lock import ProcessLock
from adapter.workers.shared_snapshot import SharedSnapshot
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import ModelEntry
from tests.support.builders import make_breakers
from tests.support.fakes.outliving import NotedOutliving
from tests.support.fakes.pack_host import KEY

DEADLINE = 15.0


class NeverAsleep(AwakeClock):
    """The clock of a loop that never stood still, however far it goes at once."""

    def slept_since(self, moment: float) -> bool:
        return False


class ToldSync(RegistrySync):
    """Notes by a function that something was published."""

    def __init__(self, registry: Registry, tell: Callable[[], None], snapshot: SharedSnapshot | None = None) -> None:
        super().__init__(registry, snapshot or SharedSnapshot(), ProcessLock("test"))
        self._tell = tell

    def publish(self) -> None:
        super().publish()
        self._tell()


class Killing(SupervisorPipe):
    """Hands what is to be killed to a function."""

    def __init__(self, kill: Callable[[str], object]) -> None:
        self._kill = kill

    def kill(self, model: str) -> bool:
        self._kill(model)
        return True


def make_smoke_test(
    backend: InferenceBackend,
    timeout: float,
    repository: Path = Path("/nowhere"),
    hosts: Callable[[str], ModelEntry | None] = lambda name: None,
) -> SmokeTest:
    """With the samples of a repository; those of entries that have none are not looked for."""
    packs = PackControl(backend, HostClient(backend, lambda host: KEY), hosts)
    return SmokeTest(packs, timeout, SampleReplay(packs, repository, timeout))


def make_sync(registry: Registry, snapshot: SharedSnapshot | None = None) -> RegistrySync:
    """By itself, or with those that share a snapshot; all of them can lead."""
    return RegistrySync(registry, snapshot or SharedSnapshot(), ProcessLock("test"))


def make_reconciler(
    registry: Registry,
    backend: InferenceBackend,
    load_timeout: float = 60,
    clock: Callable[[], float] = time.monotonic,
    registry_sync: RegistrySync | None = None,
    loader: ModelLoader | None = None,
    breakers: Breakers | None = None,
    stubs: StubProcesses | None = None,
    supervisor: SupervisorPipe | None = None,
    reaper: Reaper | None = None,
    awake: AwakeClock | None = None,
) -> Reconciler:
    names = list(registry.all)
    reaper = reaper or Reaper(stubs, supervisor, DEADLINE, clock)
    liveness = ModelLiveness(SharedState(names).table, backend, DEADLINE, clock)
    smoke_test = make_smoke_test(backend, DEADLINE, hosts=registry.host_entry)
    loader = loader or ModelLoader(backend, reaper, smoke_test, load_timeout, supervisor, clock)
    strikes, notes = Strikes(lambda *_: [], clock), HostNotes(None, lambda pid: True)
    return Reconciler(
        registry_sync or make_sync(registry),
        PackKeeper(registry, loader, strikes, notes, Path("/nowhere")),
        HealthCheck(liveness, stubs, clock),
        Recovery(stubs, supervisor),
        breakers or make_breakers(names),
        awake or NeverAsleep(clock),
    )


def make_reloader(
    registry: Registry,
    backend: InferenceBackend,
    table: SharedTable,
    tell: Callable[[], None] = lambda: None,
    answer_timeout: float = 1,
    kill: Callable[[str], object] = lambda name: None,
    clock: Callable[[], float] = time.monotonic,
    reaper: Reaper | None = None,
) -> Reloader:
    """`tell` is called for each time that something is published."""
    smoke_test = make_smoke_test(backend, answer_timeout, hosts=registry.host_entry)
    loader = ModelLoader(backend, reaper or NotedOutliving({}), smoke_test, 60, Killing(kill), clock)
    return Reloader(ToldSync(registry, tell), loader, table, answer_timeout, clock)
