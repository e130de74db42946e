"""A reload and the reconciler at the same model: who waits for whom, in each order, in counted time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from adapter import errors
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.reaper import Reaper
from adapter.lifecycle.served_model import Model
from adapter.reload.control_server import ControlServer
from adapter.reload.reloader import Reloader
from adapter.sharing import SharedState
from adapter.workers import counters
from converter.schema.control import Folders
from converter.schema.manifest import FILENAME, Manifest, ModelEntry
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.fakes.loop import counted_loop, in_counted_time
from tests.support.lifecycle.reconcilers import ToldSync, make_reconciler, make_smoke_test
from tests.support.lifecycle.reload_bench import version
from tests.support.lifecycle.served_models import make_registry

OLD, NEW = version("a", 1), version("a", 2)
NEXT = make_manifest(NEW)


class Timed(FakeBackend):
    """Loads take 3 seconds, of which none may begin while the same name is being loaded or unloaded."""

    def __init__(self, place: Manifest) -> None:
        super().__init__()
        # What the repository on the disk has.
        self.disk = place
        self.done: list[str] = []
        self._busy: set[str] = set()

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        with self._alone(model):
            await asyncio.sleep(3)
            await super().load(model, timeout, config)
            self.versions[model] = self.disk.models[0].version
            self.done.append(f"load {model}")

    async def unload(self, model: str, timeout: float) -> None:
        with self._alone(model):
            await asyncio.sleep(0.5)
            await super().unload(model, timeout)
            self.done.append(f"unload {model}")

    @contextlib.contextmanager
    def _alone(self, model: str) -> Iterator[None]:
        assert model not in self._busy, f"two at once at {model}"
        self._busy.add(model)
        try:
            yield
        finally:
            self._busy.discard(model)


class Both:
    """A reconciler and a reloader of the one model `a`; the reconciler looks each second."""

    def __init__(self) -> None:
        self.sharing = SharedState(["a"])
        self.registry = make_registry(make_manifest(OLD), self.sharing.table)
        self.backend = Timed(make_manifest(OLD))
        clock = counted_loop().time
        self.registry_sync = ToldSync(self.registry, self._adopt, self.sharing.snapshot)
        reaper, smoke_test = Reaper(None, None, 1, clock), make_smoke_test(self.backend, 15)
        self.loader = ModelLoader(self.backend, reaper, smoke_test, 60, None, clock)
        self.reconciler = make_reconciler(
            self.registry, self.backend, clock=clock, registry_sync=self.registry_sync, loader=self.loader
        )
        self.reloader = Reloader(self.registry_sync, self.loader, self.sharing.table, 1, clock)
        self.said: list[str] = []
        # Tasks are ended with the loop.
        self._running = asyncio.create_task(self.reconciler.run())

    def _adopt(self) -> None:
        counters.Cell(self.sharing.table, counters.ALL, 0, counters.ADOPTED).set(self.registry.generation)

    @property
    def model(self) -> Model:
        return self.registry.models["a"]

    async def serving(self, seconds: float = 60) -> None:
        ends = counted_loop().time() + seconds
        while not self.model.ready:
            assert counted_loop().time() < ends, self.model.status
            await asyncio.sleep(0.1)

    def die(self) -> None:
        """As a request finds it out."""
        self.model.report_dead(self.model.incarnation, "a test")

    async def reload(self, entry: ModelEntry = NEW, between: Callable[[], Awaitable[None]] | None = None) -> None:
        """As converter/live_switch/reload_command.py asks; `between` happens after the switch on the disk."""
        manifest = make_manifest(entry)
        await self.reloader.stage([entry], "~t", self.said.append)
        self.backend.disk = manifest
        if between is not None:
            await between()
        await self.reloader.switch([entry], "~t", manifest)
        await self.reloader.commit(manifest, self.said.append)

    async def assert_served(self, number: int) -> None:
        """In the end: this version, under its own names alone, and nobody does anything any more."""
        await self.serving()
        await asyncio.sleep(30)
        assert (self.model.entry.version, self.model.entry.direct, self.model.ready) == (number, "a_direct", True)
        assert self.backend.loaded == {"a": "READY", "a_direct": "READY"}
        assert {self.backend.versions[name] for name in self.backend.loaded} == {number}
        assert not self.model.dead


WAITING = "a: waiting, since the server is loading what it serves now"


@in_counted_time
async def test_R19_reload_while_the_model_is_loaded_first_waits_for_that() -> None:
    both = Both()
    await asyncio.sleep(1)
    assert both.model.status.state == "loading"
    await both.reload()
    await both.assert_served(2)
    # Its own names were loaded by the reconciler before, and by the reload after.
    own = [done for done in both.backend.done if "~t" not in done]
    assert own == ["load a_direct", "load a", "load a_direct", "load a"]


@in_counted_time
async def test_R5_reload_waits_for_a_recovery_under_way() -> None:
    both = Both()
    await both.serving()
    task = asyncio.create_task(both.reload())
    await asyncio.sleep(5)
    # Both trial names are loaded after 6 s; the recovery takes until after that.
    both.die()
    await task
    assert WAITING in both.said
    await both.assert_served(2)
    own = [done for done in both.backend.done if "~t" not in done]
    assert own[2:] == ["unload a", "unload a_direct", "load a_direct", "load a", "load a_direct", "load a"]
    assert both.model.recoveries["died"].total() == 1


@in_counted_time
async def test_R5_model_that_dies_between_the_switches_is_left_to_the_reload() -> None:
    both = Both()
    await both.serving()

    async def die() -> None:
        both.die()
        await asyncio.sleep(5)
        assert both.model.status.state == "unavailable"

    await both.reload(between=die)
    await both.assert_served(2)
    assert "unload a_direct" not in both.backend.done
    assert both.model.recoveries["died"].total() == 0


@in_counted_time
async def test_R5_model_that_dies_before_a_reload_is_given_up_is_recovered_then() -> None:
    both = Both()
    await both.serving()
    await both.reloader.stage([NEW], "~t", both.said.append)
    both.die()
    await asyncio.sleep(5)
    assert both.model.status.state == "unavailable"
    await both.reloader.give_up([NEW], "~t")
    both.reloader.release()
    await both.assert_served(1)
    assert both.model.recoveries["died"].total() == 1


@in_counted_time
async def test_R5_version_on_trial_that_dies_is_replaced_and_not_loaded_again() -> None:
    both = Both()
    await both.serving()
    task = asyncio.create_task(both.reload())
    while not both.reloader.on_trial:
        await asyncio.sleep(0.1)
    both.die()
    await task
    await both.assert_served(2)
    assert both.backend.loads.count("a_direct~t") == 1
    assert both.model.recoveries["died"].total() == 0


@in_counted_time
async def test_R19_rollback_during_a_recovery() -> None:
    both = Both()
    await both.serving()
    await both.reload()
    both.die()
    await asyncio.sleep(1.5)
    assert both.model.status.state == "recovering"
    await both.reload(OLD)
    await both.assert_served(1)


@in_counted_time
async def test_R19_model_that_is_removed_during_its_recovery_is_not_left_loaded() -> None:
    both = Both()
    await both.serving()
    both.die()
    await asyncio.sleep(1.5)
    gone = Manifest(models=())
    await both.reloader.switch([], "~t", gone)
    await both.reloader.commit(gone, both.said.append)
    await asyncio.sleep(30)
    assert (both.registry.models, both.backend.loaded) == ({}, {})
    assert both.said[-1] == "a: served no more"


@in_counted_time
async def test_R19_recovery_that_does_not_end_is_waited_for_no_longer_than_it_may_take() -> None:
    both = Both()
    both.loader.taken.add("a")
    began = counted_loop().time()
    with pytest.raises(errors.ReloadFailed, match="a: the server is still loading what it serves now: try again later"):
        await both.reload()
    # Two loads on trial, the longest wait, and two unloads.
    assert counted_loop().time() - began == pytest.approx(6 + 90 + 1, abs=0.2)
    assert sorted(both.backend.unloads) == ["a_direct~t", "a~t"]


@in_counted_time
async def test_R5_death_of_the_version_before_is_not_counted_for_the_new_one() -> None:
    both = Both()
    await both.serving()
    before, seen = both.model, counters.Cell(both.sharing.table, "a", 0, counters.DEAD_INCARNATION)

    async def late() -> None:
        while both.model is before:
            await asyncio.sleep(0.01)
        # Triton takes a second to tell of a dead process: calls of before, here and in a worker that has not heard yet.
        before.report_dead(before.incarnation, "a test")
        assert not both.model.dead
        seen.set(before.incarnation)

    task = asyncio.create_task(late())
    await both.reload()
    await task
    await both.assert_served(2)
    assert both.model.recoveries["died"].total() == 0


@in_counted_time
async def test_R1_reload_that_triton_cut_off_is_ended_when_triton_is_there_again(tmp_path: Path) -> None:
    both = Both()
    await both.serving()
    control = ControlServer(both.reloader, both.registry_sync, tmp_path / "sock", tmp_path, Folders())
    task = asyncio.create_task(control.run())
    (tmp_path / FILENAME).write_bytes(NEXT.to_json())
    await both.reloader.stage([NEW], "~t", both.said.append)
    both.backend.disk = NEXT
    await both.reloader.switch([NEW], "~t", NEXT)
    both.backend.up = False
    with pytest.raises(errors.ReloadFailed, match="does not answer"):
        await both.reloader.commit(NEXT, both.said.append)
    # The trial names are gone from the disk with the command that had them made.
    both.backend.load_errors |= {name: errors.ModelUnavailable("no", "") for name in ("a~t", "a_direct~t")}
    await asyncio.sleep(20)
    both.backend.restart()
    await asyncio.sleep(60)
    await both.assert_served(2)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_model_made_for_another_is_no_model_that_died() -> None:
    registry = make_registry(make_manifest(make_entry("a")))
    before = registry.models["a"]
    before.status.adopt("ready")
    registry.replace([version("a", 2)])
    before.report_dead(before.incarnation, "a test")
    assert (before.dead, registry.models["a"].dead, registry.models["a"].ready) == (True, False, True)
