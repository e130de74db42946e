"""The clock that stands still while the event loop does, and what goes by it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.lifecycle.awake_clock import MOST_SECONDS, AwakeClock
from adapter.lifecycle.liveness import ModelLiveness
from adapter.workers import counters
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.reconcilers import make_reconciler
from tests.support.lifecycle.served_models import make_registry

DEADLINE = 15.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_goes_on_with_the_clock_while_it_is_read_and_stands_still_otherwise() -> None:
    clock = Clock()
    awake = AwakeClock(clock)
    for _ in range(40):
        clock.now += 0.25
        awake.time()
    assert awake.time() == pytest.approx(110)
    assert not awake.slept_since(100)

    clock.now += 27
    assert awake.time() == pytest.approx(110 + MOST_SECONDS)
    assert awake.slept_since(110)
    assert awake.slept_since(136.9)
    assert not awake.slept_since(137)
    clock.now += 0.25
    assert awake.time() == pytest.approx(110 + MOST_SECONDS + 0.25)
    assert not awake.slept_since(137.1)


def test_a_sleep_is_seen_by_whoever_asks_first() -> None:
    clock = Clock()
    awake = AwakeClock(clock)
    clock.now += 5
    assert awake.slept_since(100)


def test_it_beats_in_a_loop_that_turns() -> None:
    awake = AwakeClock()
    beats: list[float] = []

    def fail_after_noting() -> None:
        beats.append(awake.time())
        raise RuntimeError("odd")

    async def main() -> bool:
        beat = asyncio.create_task(awake.beat(fail_after_noting))
        # Longer than what counts as sleep between two readings.
        await asyncio.sleep(1.5 * MOST_SECONDS)
        beat.cancel()
        return awake.clock() - awake.time() < 0.5 * MOST_SECONDS

    assert asyncio.run(main())
    assert len(beats) >= 2 and beats == sorted(set(beats))


def test_a_canary_that_is_older_than_its_deadline_by_our_own_sleep_is_no_proof() -> None:
    clock = Clock()

    async def silent(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await asyncio.sleep(1e6)
        return await zeros(model, arrays, outputs)

    async def main() -> list[list[str]]:
        table = counters.make_table(["m"])
        registry = make_registry(make_manifest(make_entry("m", endpoints=["predict"])), table)
        awake = AwakeClock(clock)
        liveness = ModelLiveness(table, FakeBackend(silent), DEADLINE, awake.time)
        model = registry.models["m"]
        liveness.watch(model)
        looks = []

        async def turn(seconds: float) -> None:
            for _ in range(int(seconds * 4)):
                clock.now += 0.25
                awake.time()
            looks.append(await liveness.find_hung(model))
            await asyncio.sleep(0)

        # Time for a probe, which has no answer.
        await turn(11)
        await turn(1)
        clock.now += 27
        await turn(0)
        await turn(DEADLINE - 1 - MOST_SECONDS - 1)
        await turn(2)
        liveness.unwatch(model)
        return looks

    assert asyncio.run(main()) == [[], [], [], [], ["m_direct"]]


class Sleepy(FakeBackend):
    """Its calls fail as those do whose time ran out while nobody was there: the clock has gone on by `sleep`."""

    def __init__(self, clock: Clock, sleep: float) -> None:
        super().__init__()
        self._clock = clock
        self.sleep = sleep

    async def states(self, timeout: float) -> Mapping[str, str]:
        if self.sleep and self.loaded:
            self._clock.now += self.sleep
            raise errors.UpstreamDown(errors.UNREACHABLE)
        return await super().states(timeout)

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        if self.sleep and not self.loads:
            self.loads.append(model)
            self._clock.now += self.sleep
            raise errors.ModelUnavailable(errors.UNAVAILABLE, "not loaded within 10 s")
        await super().load(model, timeout, config)


@pytest.mark.parametrize(("sleep", "state"), [(27.0, "ready"), (0.5, "failed")])
def test_a_load_whose_time_passed_asleep_has_not_failed(sleep: float, state: str) -> None:
    async def main() -> str:
        clock = Clock()
        registry = make_registry(make_manifest(make_entry("m", endpoints=["predict"])))
        reconciler = make_reconciler(registry, Sleepy(clock, sleep), 10, clock=clock, awake=AwakeClock(clock))
        for _ in range(2):
            await reconciler.reconcile()
            await reconciler.wait_idle()
        return registry.models["m"].status.state

    assert asyncio.run(main()) == state


@pytest.mark.parametrize(("sleep", "state"), [(27.0, "ready"), (0.5, "unavailable")])
def test_an_answer_that_was_missed_asleep_says_nothing_of_triton(sleep: float, state: str) -> None:
    async def main() -> tuple[str, bool]:
        clock = Clock()
        backend = Sleepy(clock, 0)
        registry = make_registry(make_manifest(make_entry("m")))
        awake = AwakeClock(clock)
        reconciler = make_reconciler(registry, backend, 10, clock=clock, awake=awake)
        await reconciler.reconcile()
        await reconciler.wait_idle()
        assert registry.models["m"].ready
        backend.sleep = sleep
        await reconciler.reconcile()
        return registry.models["m"].status.state, registry.triton_up

    assert asyncio.run(main()) == (state, state == "ready")
