"""The reconciler and the processes of models: which it misses or finds too large, and which outlive their unloading."""

from __future__ import annotations

import asyncio
import os

import pytest

from adapter import errors
from adapter.lifecycle.reaper import Processes
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.fakes.loop import counted_loop, in_counted_time
from tests.support.fakes.outliving import NotedOutliving
from tests.support.lifecycle.reconcilers import make_reconciler
from tests.support.lifecycle.reconciling import pass_of
from tests.support.lifecycle.served_models import make_registry


class Counted(StubProcesses):
    """The processes of the model `m`: so many of each Triton model, as when they were last looked for."""

    def __init__(self, **counts: int) -> None:
        super().__init__("")
        self.counts = counts
        self.scan()

    def scan(self) -> None:
        self.there = True
        self._pids = {name: (os.getpid(),) * count for name, count in self.counts.items()}


@pytest.mark.parametrize(("fronts", "lost"), [(3, 0), (2, 1), (0, 0)])
def test_R5_a_process_that_died_just_before_they_were_looked_for_is_missed(fronts: int, lost: int) -> None:
    """One of the three fronts; none at all is a backend without processes of its own."""
    registry = make_registry(make_manifest(make_entry("m", instances=2)))
    reconciler = make_reconciler(registry, FakeBackend(), stubs=Counted(m=fronts, m_direct=2))

    async def main() -> None:
        for _ in range(2):
            await pass_of(reconciler)

    asyncio.run(main())
    assert registry.models["m"].recoveries["died"].total() == lost


@pytest.mark.parametrize("missing", [False, True])
def test_where_what_was_called_dead_had_to_be_ended_its_calls_are_given_up(missing: bool) -> None:
    """Before anybody is ended: an answer that comes meanwhile is not believed."""
    fates: list[str] = []

    class Noted(FakeBackend):
        async def unload(self, model: str, timeout: float) -> None:
            fates.append(f"unload {model}")
            await super().unload(model, timeout)

        async def load(self, model: str, timeout: float, config: str | None = None) -> None:
            fates.append(f"load {model}")
            await super().load(model, timeout, config)

    class Serve(SupervisorPipe):
        def __init__(self) -> None:
            pass

        def kill(self, model: str) -> bool:
            fates.append(f"kill {model}")
            stubs.counts[model] = 0
            stubs.scan()
            return True

    stubs = Counted(m=2, m_direct=1)
    registry = make_registry(make_manifest(make_entry("m")), whole=stubs.whole)
    model = registry.models["m"]
    registry.watch_abandoned(lambda entry: fates.append(f"give up {entry.name}"))
    reconciler = make_reconciler(registry, Noted(), stubs=stubs, supervisor=Serve())

    async def main() -> None:
        await pass_of(reconciler)
        fates.clear()
        stubs.counts["m_direct"] = 0 if missing else 1
        model.report_dead(model.incarnation, "a test")
        await pass_of(reconciler)

    asyncio.run(main())
    unloads, loads = ["unload m", "unload m_direct"], ["load m_direct", "load m"]
    ended = ["give up m", "kill m_direct", "kill m"]
    assert fates == (unloads + loads if missing else [*ended, *unloads, *loads])


@pytest.mark.parametrize("reason", ["died", "memory", "no answer"])
def test_what_outlives_its_unloading_is_looked_after_from_then_on(reason: str) -> None:
    """Not where it was not unloaded; and where nothing died, calls of others may be in it."""

    class Mute(FakeBackend):
        async def unload(self, model: str, timeout: float) -> None:
            if reason == "no answer":
                raise errors.UpstreamDown("no answer")
            # Not before: a death in the unloading is one too.
            assert reaper.told == []
            await super().unload(model, timeout)

    registry = make_registry(make_manifest(make_entry("m", max_memory_mb=1)))
    reaper, model = NotedOutliving({"m": (11, 12), "m_direct": (13,)}), registry.models["m"]
    reconciler = make_reconciler(registry, Mute(), reaper=reaper)

    async def main() -> None:
        await pass_of(reconciler)
        if reason == "memory":
            model.memory.set(2 * 1024 * 1024)
        else:
            model.report_dead(model.incarnation, "a test")
        await pass_of(reconciler)

    asyncio.run(main())
    processes = Processes(models=(13,), fronts=(11, 12))
    assert reaper.told == ([] if reason == "no answer" else [(processes, reason == "memory")])
    assert reaper.passes == 2


@in_counted_time
async def test_R11_a_model_over_its_memory_is_loaded_again_and_that_is_no_death() -> None:
    registry = make_registry(make_manifest(make_entry("m", max_memory_mb=100)))
    backend = FakeBackend()
    reconciler = make_reconciler(registry, backend, clock=counted_loop().time)
    model = registry.models["m"]
    await pass_of(reconciler)
    for _ in range(7):
        model.memory.set(101 * 1024 * 1024)
        await pass_of(reconciler)
    assert model.recoveries["memory"].total() == 7
    assert backend.unloads == ["m", "m_direct"] * 7
    assert model.status.state == "ready"
