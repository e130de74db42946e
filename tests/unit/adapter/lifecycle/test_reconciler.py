"""The reconciler: which models it loads, in which order, and what it says of those that are not there."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.registry import Registry
from adapter.limits.breakers import Breakers
from adapter.sharing import SharedState
from adapter.workers import counters
from tests.support.builders import force_open, make_breakers
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.fakes.loop import counted_loop, in_counted_time
from tests.support.lifecycle.reconcilers import make_reconciler, make_sync
from tests.support.lifecycle.reconciling import pass_of, registry_of
from tests.support.lifecycle.served_models import make_registry

# By the clock of breakers, which stands still at 0: failures of the start count no more.
AFTER_THE_START = 1.0
NOT_LOADED = "The model is not available now; try again shortly."


def look(registry: Registry, backend: FakeBackend, passes: int = 1) -> None:
    reconciler = make_reconciler(registry, backend)

    async def main() -> None:
        for _ in range(passes):
            await pass_of(reconciler)

    asyncio.run(main())


def states(registry: Registry) -> dict[str, str]:
    return {name: model.status.state for name, model in registry.models.items()}


def unavailable(inside: str) -> errors.ModelUnavailable:
    return errors.ModelUnavailable(NOT_LOADED, inside)


def test_the_model_is_loaded_before_the_front_that_calls_it() -> None:
    registry, backend = registry_of("a", "b"), FakeBackend()
    look(registry, backend)
    for name in ("a", "b"):
        assert backend.loads.index(f"{name}_direct") < backend.loads.index(name)
    assert sorted(backend.loads) == ["a", "a_direct", "b", "b_direct"]
    assert states(registry) == {"a": "ready", "b": "ready"}
    assert registry.ready


def test_a_model_without_a_front_is_one_load() -> None:
    registry, backend = make_registry(make_manifest(make_entry("a", endpoints=["predict"]))), FakeBackend()
    look(registry, backend)
    assert backend.loads == ["a_direct"]
    assert states(registry) == {"a": "ready"}


def test_what_triton_has_already_is_not_loaded_again() -> None:
    registry, backend = registry_of("a"), FakeBackend(loaded={"a": "READY", "a_direct": "READY"})
    look(registry, backend, passes=3)
    assert backend.loads == []
    assert registry.ready


def test_a_model_of_which_half_is_there_is_loaded() -> None:
    registry, backend = registry_of("a"), FakeBackend(loaded={"a": "READY", "a_direct": "UNAVAILABLE"})
    look(registry, backend)
    assert backend.loads == ["a_direct", "a"]
    assert registry.ready


def test_how_long_the_load_took_is_kept() -> None:
    now = 10.0

    class Slow(FakeBackend):
        async def load(self, model: str, timeout: float, config: str | None = None) -> None:
            nonlocal now
            now += 1.25

    registry = registry_of("a")
    asyncio.run(pass_of(make_reconciler(registry, Slow(), clock=lambda: now)))
    assert registry.models["a"].status.load_seconds == 2.5


def test_a_failed_model_stays_failed_with_its_reason_and_the_others_serve(caplog: pytest.LogCaptureFixture) -> None:
    text = "failed: ModelError: [schwift:load_error] the model needs foo, which is not installed\n\nAt:\n  /srv/m.py(3)"
    registry, backend = registry_of("bad", "good"), FakeBackend(load_errors={"bad_direct": unavailable(text)})
    with caplog.at_level(logging.ERROR, "schwift.adapter"):
        look(registry, backend, passes=3)
    assert states(registry) == {"bad": "failed", "good": "ready"}
    assert registry.models["bad"].status.reason == "the model needs foo, which is not installed"
    assert registry.models["good"].status.reason is None
    assert backend.loads.count("bad_direct") == 1
    assert "bad" not in backend.loads
    assert not registry.ready
    assert text in caplog.text


def test_a_model_whose_process_died_is_unloaded_and_loaded_though_triton_calls_it_ready() -> None:
    registry, backend = registry_of("a", "b"), FakeBackend()
    look(registry, backend)
    registry.models["a"].report_dead(registry.models["a"].incarnation, "a test")
    assert states(registry) == {"a": "unavailable", "b": "ready"}
    assert not registry.ready
    backend.loads.clear()
    look(registry, backend, passes=2)
    assert backend.unloads == ["a", "a_direct"]
    assert backend.loads == ["a_direct", "a"]
    assert registry.ready


def test_when_triton_is_gone_ready_models_are_unavailable_and_then_loaded_again() -> None:
    registry, backend = registry_of("a"), FakeBackend()
    look(registry, backend)
    backend.up = False
    look(registry, backend)
    assert not registry.triton_up
    assert states(registry) == {"a": "unavailable"}
    assert registry.models["a"].status.reason == "the inference server does not answer"
    backend.restart()
    look(registry, backend)
    assert backend.loads == ["a_direct", "a"] * 2
    assert states(registry) == {"a": "ready"}
    assert registry.models["a"].status.reason is None
    assert registry.ready


def test_a_triton_that_is_not_up_yet_leaves_models_waiting() -> None:
    registry, backend = registry_of("a"), FakeBackend(up=False)
    look(registry, backend, passes=2)
    assert states(registry) == {"a": "waiting"}
    assert backend.loads == []
    assert not registry.triton_up


def test_triton_going_away_during_a_load_is_not_the_models_failure() -> None:
    registry, backend = registry_of("a"), FakeBackend(load_errors={"a": errors.UpstreamDown("Not there.")})
    look(registry, backend)
    assert states(registry) == {"a": "unavailable"}
    backend.load_errors.clear()
    look(registry, backend)
    assert states(registry) == {"a": "ready"}


def test_a_model_that_triton_lost_is_loaded_again_alone() -> None:
    registry, backend = registry_of("a", "b"), FakeBackend()
    look(registry, backend)
    backend.loaded["a_direct"] = "UNAVAILABLE"
    backend.loads.clear()
    look(registry, backend)
    assert backend.loads == ["a_direct", "a"]
    assert registry.ready


def test_at_most_two_models_load_at_a_time() -> None:
    running, most = 0, 0

    class Slow(FakeBackend):
        async def load(self, model: str, timeout: float, config: str | None = None) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            await super().load(model, timeout, config)

    registry, backend = registry_of(*"abcde"), Slow()
    look(registry, backend)
    assert registry.ready
    assert most == 2


def test_passes_are_rarer_once_nobody_has_asked_for_a_while() -> None:
    table, now = counters.make_table(["a", "b"]), 100.0
    registry = make_registry(make_manifest(make_entry("a"), make_entry("b")), table)
    reconciler = make_reconciler(registry, FakeBackend(), clock=lambda: now)

    async def main() -> None:
        await pass_of(reconciler)

    assert reconciler.choose_pause() == 1.0
    asyncio.run(main())
    assert states(registry) == {"a": "ready", "b": "ready"}
    assert reconciler.choose_pause() == 1.0
    now += 9.5
    assert reconciler.choose_pause() == 1.0
    now += 1.0
    assert reconciler.choose_pause() == 2.0
    counters.Cell(table, "b", 0, counters.ANSWERED).add(1)
    assert reconciler.choose_pause() == 1.0
    now += 10.5
    assert reconciler.choose_pause() == 2.0
    # One that was asked in its sleep is still to be woken.
    registry.models["a"].status.become("asleep", None)
    counters.Cell(table, "a", 0, counters.ANSWERED).add(1)
    assert reconciler.choose_pause() == 2.0
    assert registry.models["a"].idle_clock.was_asked()
    registry.models["b"].status.become("unavailable", "why")
    assert reconciler.choose_pause() == 1.0


def test_the_keeper_outlives_an_error_that_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(FakeBackend):
        async def states(self, timeout: float) -> dict[str, str]:
            raise RuntimeError("odd")

    async def main() -> None:
        task = asyncio.create_task(make_reconciler(registry_of("a"), Odd()).run())
        await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(main())
    assert "the reconciler's pass failed" in caplog.text


def two_workers() -> tuple[SharedState, list[Registry]]:
    sharing = SharedState(["a", "b"], workers=2)
    manifest = make_manifest(make_entry("a"), make_entry("b"))
    return sharing, [make_registry(manifest, sharing.table, worker) for worker in range(2)]


def test_the_others_take_over_what_the_leading_worker_says() -> None:
    sharing, (leading, following) = two_workers()
    text = "failed: ModelError: [schwift:load_error] the model needs foo\n"
    backend = FakeBackend(load_errors={"b_direct": unavailable(text)})
    leader = make_reconciler(leading, backend, registry_sync=make_sync(leading, sharing.snapshot))
    follower = make_sync(following, sharing.snapshot)
    follower.catch_up()
    assert states(following) == {"a": "waiting", "b": "waiting"}
    asyncio.run(pass_of(leader))
    follower.catch_up()
    assert states(following) == states(leading) == {"a": "ready", "b": "failed"}
    assert following.models["b"].status.reason == "the model needs foo"
    assert following.models["a"].status.load_seconds == leading.models["a"].status.load_seconds is not None
    assert following.triton_up


def test_a_death_that_another_worker_saw_is_mended_by_the_one_that_leads() -> None:
    sharing, (leading, following) = two_workers()
    backend = FakeBackend()
    leader = make_reconciler(leading, backend, registry_sync=make_sync(leading, sharing.snapshot))
    follower = make_sync(following, sharing.snapshot)
    asyncio.run(pass_of(leader))
    follower.catch_up()
    following.models["a"].report_dead(following.models["a"].incarnation, "a test")
    assert states(following)["a"] == "unavailable"
    # What the leader wrote before it knew changes nothing.
    following.follow(leading.as_text())
    assert states(following) == {"a": "unavailable", "b": "ready"}
    backend.loads.clear()
    asyncio.run(pass_of(leader))
    assert (backend.unloads, backend.loads) == (["a", "a_direct"], ["a_direct", "a"])
    follower.catch_up()
    assert states(following) == {"a": "ready", "b": "ready"}
    assert not following.models["a"].dead


class Hanging(FakeBackend):
    """`m_direct` answers nothing until it is loaded again."""

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        await super().load(model, timeout, config)
        if self.loads.count("m_direct") > 1:
            self.handler = zeros


async def silent(*_: object) -> Arrays:
    await asyncio.sleep(1e6)
    raise AssertionError


def kept(registry: Registry, backend: FakeBackend, breakers: Breakers | None = None) -> Reconciler:
    return make_reconciler(registry, backend, clock=counted_loop().time, breakers=breakers)


@in_counted_time
async def test_R6_a_model_that_hangs_is_unloaded_and_loaded_and_its_breaker_is_closed() -> None:
    registry, backend, breakers = registry_of("m"), Hanging(silent), make_breakers(["m"], lambda: 0.0)
    reconciler, model = kept(registry, backend, breakers), registry.models["m"]
    await pass_of(reconciler)
    force_open(breakers["m"].model, AFTER_THE_START)
    for _ in range(40):
        await asyncio.sleep(1)
        await pass_of(reconciler)
    assert backend.unloads == ["m", "m_direct"]
    assert model.recoveries["hung"].total() == 1
    # Nobody could end it from here.
    assert model.stuck.total() == 2
    assert states(registry) == {"m": "ready"}
    assert breakers["m"].model.closed


@in_counted_time
async def test_R5_a_model_that_dies_again_and_again_waits_longer_and_is_left_in_the_end() -> None:
    registry, backend = registry_of("m", "other"), FakeBackend()
    reconciler, model = kept(registry, backend), registry.models["m"]
    await pass_of(reconciler)
    waits = []
    for _ in range(5):
        model.report_dead(model.incarnation, "a test")
        died = counted_loop().time()
        await pass_of(reconciler)
        waits.append(counted_loop().time() - died)
    assert waits == [0, 1, 2, 4, 0]
    assert states(registry) == {"m": "failed", "other": "ready"}
    assert "5 times within 10 minutes" in str(model.status.reason)
    loads = len(backend.loads)
    for _ in range(20):
        await asyncio.sleep(1)
        await pass_of(reconciler)
    assert len(backend.loads) == loads
    assert states(registry) == {"m": "failed", "other": "ready"}


@pytest.mark.parametrize("restarted", [True, False])
def test_a_death_that_is_seen_while_triton_does_not_answer_is_not_forgotten(restarted: bool) -> None:
    """Where all of it was suspended, its processes are there still when it answers again."""
    registry, backend = registry_of("a"), FakeBackend()
    reconciler, model = make_reconciler(registry, backend), registry.models["a"]

    async def main() -> None:
        await pass_of(reconciler)
        backend.up = False
        await pass_of(reconciler)
        assert model.status.state == "unavailable"
        model.report_dead(model.incarnation, "a test")
        assert (model.dead, model.status.reason) == (True, "the inference server does not answer")
        await pass_of(reconciler)
        backend.up = True
        if restarted:
            backend.restart()
        await pass_of(reconciler)

    asyncio.run(main())
    assert model.ready and not model.dead
    assert backend.unloads == ([] if restarted else ["a", "a_direct"])
    assert backend.loads == ["a_direct", "a"] * 2
    assert model.recoveries["died"].total() == (not restarted)


@in_counted_time
async def test_a_death_that_is_told_late_is_that_of_the_process_before() -> None:
    registry, backend = registry_of("m"), FakeBackend()
    reconciler, model = kept(registry, backend), registry.models["m"]
    await pass_of(reconciler)
    before = model.incarnation
    model.report_dead(before, "a test")
    await pass_of(reconciler)
    model.report_dead(before, "a test")
    assert model.ready and not model.dead


@in_counted_time
async def test_a_model_that_takes_long_to_load_keeps_nobody_from_noticing_another() -> None:
    class Slow(FakeBackend):
        async def load(self, model: str, timeout: float, config: str | None = None) -> None:
            if model == "slow_direct":
                await asyncio.sleep(50)
            await super().load(model, timeout, config)

    registry, backend = registry_of("slow", "m"), Slow()
    reconciler, model = kept(registry, backend), registry.models["m"]
    for _ in range(3):
        await reconciler.reconcile()
        await asyncio.sleep(1)
    assert states(registry) == {"slow": "loading", "m": "ready"}
    model.report_dead(model.incarnation, "a test")
    await reconciler.reconcile()
    await asyncio.sleep(1)
    await reconciler.reconcile()
    assert states(registry) == {"slow": "loading", "m": "ready"}
    assert backend.unloads == ["m", "m_direct"]


@in_counted_time
async def test_when_triton_is_there_again_its_breaker_is_closed() -> None:
    registry, backend, breakers = registry_of("m"), FakeBackend(), make_breakers(["m"], lambda: 0.0)
    reconciler = kept(registry, backend, breakers)
    await pass_of(reconciler)
    backend.up = False
    force_open(breakers.triton, AFTER_THE_START)
    await pass_of(reconciler)
    assert not breakers.triton.closed
    backend.restart()
    await pass_of(reconciler)
    assert breakers.triton.closed
    assert registry.ready
