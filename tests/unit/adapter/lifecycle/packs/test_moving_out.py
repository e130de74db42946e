"""A model that harms its pack gets a process of its own; one that cannot have one stays, and says why."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import pytest

from adapter import errors
from adapter.lifecycle.served_model import Model
from adapter.lifecycle.stub_processes import StubProcesses
from adapter.workers import counters
from converter.schema.manifest import Manifest
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.pack_host import FakeHost
from tests.support.lifecycle.lifecycle_desk import turns
from tests.support.lifecycle.reconcilers import make_reconciler
from tests.support.lifecycle.reconciling import pass_of
from tests.support.lifecycle.served_models import make_registry
from tests.support.packs import HOST, make_host_entry, make_member

MIB = 1024 * 1024
LARGE = make_member("a", max_memory_mb=1)
CANNOT = "it harms its pack and cannot be moved out of it: Triton could not load it: the server's log has the details"


class Pack:
    """A pack of two, one of which holds too much, and the reconciler that looks after it."""

    def __init__(self, **load_errors: Exception) -> None:
        entries = (LARGE, make_member("b"))
        self.host = FakeHost({entry.name: entry for entry in entries}, sizes={LARGE.member: 2 * MIB})
        self.backend = FakeBackend(self.host, load_errors=load_errors)
        table = counters.make_table([HOST, "a", "b"])
        self.registry = make_registry(Manifest(models=entries, hosts=(make_host_entry(),)), table)
        self.now = 1000.0
        self.reconciler = make_reconciler(self.registry, self.backend, clock=lambda: self.now)

    @property
    def large(self) -> Model:
        return self.registry.models["a"]

    async def passes(self, count: int) -> None:
        for _ in range(count):
            self.now += 1.0
            await pass_of(self.reconciler)
            await turns()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_model_that_holds_too_much_has_a_process_of_its_own() -> None:
    pack = Pack()
    run(pack.passes(15))
    assert (pack.large.pack, pack.large.status.state) == (None, "ready")
    assert pack.large.status.reason == (
        "it holds more than its max_memory_mb: it has a process of its own until it is reloaded"
    )
    assert pack.large.moved_out.total() == 1
    assert pack.backend.loads.count("a_alone") == 1
    # Its pack's process has let go of it, and keeps its mate.
    assert pack.host.loaded == {"b_alone/1"}
    assert pack.registry.models["b"].pack == "default"


def test_a_model_that_cannot_be_moved_out_is_served_on_says_so_and_is_not_tried_again() -> None:
    pack = Pack(a_alone=errors.ModelUnavailable("Not there.", "no such file"))
    # It is measured, and too large, every ten seconds.
    run(pack.passes(35))
    assert (pack.large.pack, pack.large.status.state, pack.large.status.reason) == ("default", "ready", CANNOT)
    assert pack.backend.loads.count("a_alone") == 1
    assert (pack.large.moved_out.total(), pack.host.loaded) == (0, {"a_alone/1", "b_alone/1"})
    assert pack.registry.models["b"].status.reason is None


def test_it_says_so_after_its_pack_was_away_too() -> None:
    pack = Pack(a_alone=errors.ModelUnavailable("Not there.", "no such file"))

    async def main() -> None:
        await pack.passes(15)
        pack.backend.restart()
        await pack.passes(15)
        assert pack.backend.loads.count(HOST) == 2

    run(main())
    assert (pack.large.status.state, pack.large.status.reason) == ("ready", CANNOT)


def test_another_version_is_tried_again() -> None:
    pack = Pack(a_alone=errors.ModelUnavailable("Not there.", "no such file"))

    async def main() -> None:
        await pack.passes(15)
        pack.backend.load_errors.clear()
        pack.registry.replace([LARGE])
        await pack.passes(15)

    run(main())
    assert (pack.large.pack, pack.large.moved_out.total()) == (None, 1)


def test_a_model_that_was_moved_out_is_measured_by_what_its_own_process_grows() -> None:
    pack = Pack()
    run(pack.passes(15))
    moved = pack.large
    assert moved.pack is None
    # An interpreter and libraries alone hold more than the model may, and differ with what others share of them.
    for mib, is_over in ((80, False), (112.9, False), (79, False), (111.9, False), (112.1, True), (0, False)):
        moved.note_memory(int(mib * MIB))
        assert moved.over_memory == is_over, mib
    assert moved.memory.mine == 0
    # It is loaded again, and grows anew.
    pack.registry.begin_incarnation(moved)
    moved.note_memory(90 * MIB)
    assert not moved.over_memory
    # A mate that was never moved counts as a whole.
    mate = pack.registry.models["b"]
    mate.entry = make_member("b", max_memory_mb=1)
    mate.note_memory(2 * MIB)
    assert mate.over_memory


@pytest.mark.parametrize("asleep", [False, True])
def test_a_moved_out_model_that_is_loaded_again_is_measured_from_then_on(asleep: bool) -> None:
    """After it slept, or Triton was away: its process, an interpreter with libraries, is not what it has grown by."""

    class Large(StubProcesses):
        def __init__(self) -> None:
            super().__init__("")

        def scan(self) -> None:
            self.there = True
            self._pids = {"a_alone": (os.getpid(),)}

        def measure(self, groups: Mapping[str, Iterable[str]]) -> dict[str, int]:
            return dict.fromkeys(groups, 80 * MIB)

    registry = make_registry(Manifest(models=(LARGE.moved_out(),), hosts=()))
    backend, model = FakeBackend(), registry.models["a"]
    reconciler = make_reconciler(registry, backend, stubs=Large())

    async def main() -> None:
        await pass_of(reconciler)
        if asleep:
            model.status.become("asleep")
            await pass_of(reconciler)
            model.wanted.set(1)
        else:
            backend.restart()
        await pass_of(reconciler)
        assert (model.status.state, model.memory.mine, model.over_memory) == ("ready", 80 * MIB, False)
        await pass_of(reconciler)

    run(main())
    assert backend.loads.count("a_alone") == 2
    assert model.recoveries["memory"].total() == 0
