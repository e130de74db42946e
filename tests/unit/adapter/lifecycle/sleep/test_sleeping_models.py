"""Lazy models are proven and put to sleep, idle ones too, and requests have them loaded again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from adapter import errors
from adapter.lifecycle.model_state import State
from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.workers import counters
from adapter.workers.shared_snapshot import SharedSnapshot
from converter.schema.manifest import Manifest, ModelEntry
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.fakes.pack_host import FakeHost
from tests.support.lifecycle.lifecycle_desk import turns
from tests.support.lifecycle.reconcilers import make_reconciler, make_sync
from tests.support.lifecycle.reconciling import pass_of
from tests.support.lifecycle.served_models import make_registry
from tests.support.packs import HOST, make_host_entry, make_member

LAZY = make_entry("a", load="lazy")
IDLE = make_entry("a", idle_unload=60)


class Room:
    """One model, the reconciler that looks after it, and a clock that the test turns."""

    def __init__(
        self, entry: ModelEntry, backend: FakeBackend | None = None, hosts: tuple[ModelEntry, ...] = ()
    ) -> None:
        manifest = Manifest(models=(entry,), hosts=hosts)
        self.table = counters.make_table([host.name for host in hosts] + [entry.name], workers=2)
        self.registry: Registry = make_registry(manifest, self.table)
        self.backend = backend or FakeBackend()
        self.now = 1000.0
        self.reconciler: Reconciler = make_reconciler(self.registry, self.backend, clock=lambda: self.now)
        self.model: Model = self.registry.models[entry.name]

    def state(self) -> State:
        return self.model.status.state

    def cell(self, number: int, worker: int = 1) -> counters.Cell:
        """One of the model's numbers, of another worker."""
        return counters.Cell(self.table, self.model.entry.name, worker, number)

    async def passes(self, count: int = 1) -> None:
        for _ in range(count):
            await pass_of(self.reconciler)
            # For probes, which nobody waits for.
            await turns()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_a_lazy_model_is_proven_and_sleeps_from_then_on() -> None:
    room = Room(LAZY)
    run(room.passes(3))
    assert room.backend.loads == ["a_direct", "a"]
    assert room.backend.unloads == ["a", "a_direct"]
    assert (room.state(), room.model.ready, room.registry.ready) == ("asleep", False, True)
    assert room.model.status.load_seconds == 0.0


@pytest.mark.parametrize("state", ["waiting", "loading"])
def test_who_takes_the_lead_proves_what_is_not_proven_yet(state: State) -> None:
    room = Room(LAZY)
    room.model.status.adopt(state)
    run(room.passes())
    assert (room.state(), room.backend.loaded) == ("asleep", {})


def test_a_lazy_model_that_does_not_load_has_failed() -> None:
    room = Room(LAZY, FakeBackend(load_errors={"a_direct": errors.ModelUnavailable("Not there.", "no such file")}))
    run(room.passes(2))
    assert (room.state(), room.registry.ready) == ("failed", False)


def test_a_lazy_model_that_was_awake_when_triton_ended_is_awake_again() -> None:
    room = Room(LAZY)
    room.model.status.adopt("ready")
    run(room.passes(2))
    assert (room.state(), sorted(room.backend.loaded)) == ("ready", ["a", "a_direct"])


def test_a_request_of_any_worker_wakes_a_model() -> None:
    room = Room(LAZY)

    async def main() -> None:
        await room.passes()
        assert room.reconciler.wake()
        assert room.state() == "asleep"
        room.cell(counters.WANTED).add(1)
        assert room.reconciler.wake()
        await room.reconciler.wait_idle()
        assert (room.state(), sorted(room.backend.loaded)) == ("ready", ["a", "a_direct"])
        room.cell(counters.WANTED).add(-1)
        assert not room.reconciler.wake()
        await room.passes(3)
        assert room.state() == "ready"

    run(main())


def test_a_pass_wakes_a_model_too_once() -> None:
    room = Room(LAZY)

    async def main() -> None:
        await room.passes()
        room.cell(counters.WANTED).add(1)
        await room.reconciler.reconcile()
        room.reconciler.wake()
        await room.reconciler.wait_idle()

    run(main())
    assert room.state() == "ready"
    assert room.backend.loads == ["a_direct", "a"] * 2


def test_who_waits_sees_nothing_but_the_end_of_the_load() -> None:
    seen: list[State] = []

    class Watched(FakeBackend):
        async def load(self, model: str, timeout: float, config: str | None = None) -> None:
            seen.append(room.state())
            await super().load(model, timeout, config)

    room = Room(LAZY, Watched())
    room.model.status.adopt("asleep")
    room.cell(counters.WANTED).add(1)
    run(room.passes())
    assert (seen, room.state()) == (["asleep", "asleep"], "ready")


def test_a_sleeping_model_that_loads_no_more_has_failed() -> None:
    room = Room(LAZY)

    async def main() -> None:
        await room.passes()
        room.backend.load_errors["a_direct"] = errors.ModelUnavailable("Not there.", "gone")
        waits = asyncio.create_task(room.model.status.wait_awake())
        room.cell(counters.WANTED).add(1)
        await room.passes()
        await waits

    run(main())
    assert room.state() == "failed"


def test_a_model_falls_asleep_after_so_long_without_a_request() -> None:
    room = Room(IDLE)

    async def main() -> None:
        await room.passes(2)
        assert room.state() == "ready"
        room.now += 59
        await room.passes()
        assert room.state() == "ready"
        room.cell(counters.ANSWERED).add(1)
        for _ in range(2):
            room.now += 40
            await room.passes()
        assert room.state() == "ready"
        room.now += 20
        await room.passes()
        assert (room.state(), room.backend.loaded) == ("asleep", {})

    run(main())


def test_a_model_that_was_woken_has_its_time_anew() -> None:
    room = Room(IDLE)

    async def main() -> None:
        await room.passes(2)
        room.now += 60
        await room.passes()
        room.cell(counters.WANTED).add(1)
        await room.passes()
        room.cell(counters.WANTED).add(-1)
        await room.passes()
        assert room.state() == "ready"
        room.now += 60
        await room.passes()
        assert room.state() == "asleep"

    run(main())


def test_a_model_without_the_key_never_sleeps() -> None:
    room = Room(make_entry("a"))

    async def main() -> None:
        await room.passes(2)
        room.now += 1e6
        await room.passes()

    run(main())
    assert (room.state(), room.backend.unloads) == ("ready", [])


def test_what_triton_has_of_a_sleeping_model_is_unloaded() -> None:
    room = Room(LAZY, FakeBackend(loaded={"a_direct": "READY"}))
    room.model.status.adopt("asleep")
    run(room.passes())
    assert (room.state(), room.backend.loaded) == ("asleep", {})


def test_a_model_stays_asleep_while_triton_is_away() -> None:
    room = Room(LAZY)

    async def main() -> None:
        await room.passes()
        room.backend.up = False
        await room.passes()
        assert (room.state(), room.registry.ready) == ("asleep", False)
        room.backend.restart()
        await room.passes()

    run(main())
    assert (room.state(), room.registry.ready) == ("asleep", True)
    assert room.backend.loads == ["a_direct", "a"]


def test_the_other_workers_hear_that_a_model_sleeps_before_it_is_unloaded() -> None:
    heard: list[State] = []

    class Watched(FakeBackend):
        async def unload(self, model: str, timeout: float) -> None:
            follower.catch_up()
            heard.append(follower.registry.models["a"].status.state)
            await super().unload(model, timeout)

    manifest = make_manifest(LAZY)
    snapshot = SharedSnapshot()
    leading, follower = (make_sync(make_registry(manifest), snapshot) for _ in range(2))
    reconciler = make_reconciler(leading.registry, Watched(), registry_sync=leading)
    run(pass_of(reconciler))
    assert heard == ["asleep", "asleep"]


class Packed(Room):
    """A packed model that sleeps after a minute, in a host in memory that is there."""

    def __init__(self, instances: int = 1, **keys: Any) -> None:
        entry = make_member("a", **{"idle_unload": 60, **keys})
        self.host = FakeHost({"a": entry})
        super().__init__(entry, FakeBackend(self.host), (make_host_entry(instances=instances),))


def test_a_lazy_packed_model_is_proven_by_its_host_and_its_ensembles_wait() -> None:
    room = Packed(load="lazy", warmup=True)
    run(room.passes(3))
    assert (room.state(), room.host.loaded) == ("asleep", set())
    assert [list(call) for call in room.host.calls] == [["a"]]
    assert sorted(room.backend.loaded) == [HOST, f"{HOST}_direct"]


def test_a_sleeping_packed_model_takes_requests_and_is_ready_once_it_had_one() -> None:
    room = Packed(load="lazy")

    async def main() -> None:
        await room.passes(3)
        assert (room.state(), room.model.ready, room.model.sleeps, room.registry.ready) == ("asleep", True, False, True)
        room.cell(counters.ANSWERED).add(1)
        await room.passes()
        assert (room.state(), room.host.loaded) == ("ready", {"a_alone/1"})
        assert sorted(room.backend.loaded) == ["a", "a_direct", HOST, f"{HOST}_direct"]
        room.now += 60
        await room.passes()
        # Its ensembles stay: its host loads it for native clients as well.
        assert (room.state(), room.host.loaded, room.backend.unloads) == ("asleep", set(), [])

    run(main())


def test_a_sleeping_packed_model_is_as_unavailable_as_its_host() -> None:
    room = Packed(load="lazy")

    async def main() -> None:
        await room.passes(3)
        [host] = room.registry.hosts.values()
        host.status.become("unavailable")
        assert (room.model.ready, room.model.available) == (False, False)

    run(main())


class Roomless(Packed):
    """A packed model that is ready, in a host with two processes that put models away by themselves."""

    def __init__(self, others: int = 1) -> None:
        super().__init__(idle_unload=None, instances=2)
        self.host.others = [{} for _ in range(others)]

    async def measured(self) -> None:
        """Be measured once more."""
        self.now += 10
        await self.passes()


def test_a_model_that_its_pack_has_put_away_sleeps_and_is_woken_as_any_other() -> None:
    room = Roomless()

    async def main() -> None:
        await room.passes(2)
        await room.measured()
        assert room.state() == "ready"
        room.host.loaded.clear()
        await room.passes()
        assert room.state() == "ready"
        await room.measured()
        assert (room.state(), room.model.ready, room.registry.ready) == ("asleep", True, True)
        room.cell(counters.ANSWERED).add(1)
        await room.passes()
        assert (room.state(), room.host.loaded) == ("ready", {"a_alone/1"})

    run(main())


def test_a_model_is_awake_while_it_is_asked_or_any_process_of_its_pack_holds_it() -> None:
    room = Roomless()

    async def main() -> None:
        await room.passes(2)
        room.host.loaded.clear()
        room.host.others = [{"a_alone/1": 7}]
        await room.measured()
        assert (room.state(), room.model.memory.mine) == ("ready", 7)
        room.host.others = [{}]
        room.cell(counters.IN_FLIGHT).add(1)
        await room.measured()
        assert room.state() == "ready"
        room.host.others = [{"a_alone/1": 7}]
        await room.measured()
        room.host.others = [{}]
        await room.measured()
        assert room.state() == "ready"
        # Whoever asks all the while does not get it loaded.
        await room.measured()
        assert room.state() == "asleep"

    run(main())


def test_a_model_is_not_called_asleep_while_a_process_of_its_pack_is_not_asked() -> None:
    room = Roomless(others=0)

    async def main() -> None:
        await room.passes(2)
        room.host.loaded.clear()
        await room.measured()

    run(main())
    assert room.state() == "ready"


def test_what_a_model_holds_is_that_of_all_processes_of_its_pack() -> None:
    room = Roomless()
    room.host.sizes["a_alone/1"] = 30

    async def main() -> None:
        await room.passes(2)
        for others, whole in (([{"a_alone/1": 20}], 50), ([{"a_alone/1": 20}, {"a_alone/1": 40}], 60), ([], 60)):
            room.host.others = others
            await room.measured()
            assert room.model.memory.mine == whole

    run(main())
