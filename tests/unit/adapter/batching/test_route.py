"""One model's ways to Triton: which Triton model is called, with how many requests at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.batching.batcher import Batcher
from adapter.batching.calls import ModelCalls
from adapter.batching.route import ModelRoute
from adapter.batching.shared_cores import SharedCores
from adapter.codec.codec import Codec
from adapter.deadline_timer import RESOLUTION
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from converter.schema.manifest import ModelEntry, Tensor
from converter.schema.model import Endpoint
from converter.schema.settings import REGIMES, RegimeName
from tests.support.fakes.backend import FakeBackend, Handler
from tests.support.fakes.entries import make_entry
from tests.support.fakes.loop import counted, counted_loop, in_counted_time
from tests.support.lifecycle.lifecycle_desk import all_of, double, rows_in, turns

ONE = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=4)
PREDICT_ALONE = make_entry(
    inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=4, endpoints=["predict"]
)
CALL = 0.1
Sent = list[tuple[str, list[float]]]


def takes(seconds: float) -> Handler:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await asyncio.sleep(seconds)
        return await double(model, arrays, outputs)

    return handler


class Way:
    """A route in counted time, and what its backend was called with."""

    def __init__(
        self, regime: RegimeName | None = None, entry: ModelEntry = ONE, handler: Handler | None = None
    ) -> None:
        self.backend = FakeBackend(handler or takes(CALL))
        self.table = counters.make_table([entry.name])
        self.name = entry.name
        self.loop = counted_loop()
        mine = counters.WorkerCounters(self.table, 0)
        calls = ModelCalls(entry, Codec(entry), self.backend)
        batcher = Batcher(calls, SharedCores(2, self.loop.time), mine, self.loop.time)
        self.route = ModelRoute(calls, batcher, mine, regime, self.loop.time)

    def ask(
        self,
        *values: float,
        endpoint: Endpoint = "predict_batched",
        timeout: float = 5.0,
        timings: RequestTimings | None = None,
    ) -> asyncio.Task[Any]:
        noted = timings or RequestTimings()

        async def values_of() -> Any:
            deadline = self.loop.time() + timeout
            parts = await self.route.infer(endpoint, ([[value] for value in values],), deadline, noted)
            return [value for (text,) in parts for (value,) in rows_in(text)]

        return self.loop.create_task(values_of())

    async def in_a_row(self, count: int) -> None:
        """As many requests one after the other, each alone."""
        for _ in range(count):
            assert await self.ask(1, endpoint="predict") == [2.0]

    @property
    def sent(self) -> Sent:
        return [(call.model, call.arrays["x"].ravel().tolist()) for call in self.backend.calls]

    def cell(self, cell: int) -> float:
        return counters.total(self.table, self.name, cell)

    @property
    def shown(self) -> RegimeName:
        return REGIMES[int(self.cell(counters.REGIME))]


@in_counted_time
async def test_idle_goes_alone_and_straight_to_the_model() -> None:
    way = Way("idle")
    assert await all_of(*(way.ask(i) for i in (1, 2, 3))) == [[2.0], [4.0], [6.0]]
    assert way.sent == [("m_direct", [1.0]), ("m_direct", [2.0]), ("m_direct", [3.0])]
    assert (way.shown, way.cell(counters.CALLS), way.cell(counters.CALL_ROWS)) == ("idle", 3, 3)


@in_counted_time
async def test_busy_goes_one_by_one_to_the_front() -> None:
    way = Way("busy")
    assert await all_of(*(way.ask(i) for i in (1, 2, 3))) == [[2.0], [4.0], [6.0]]
    assert way.sent == [("m", [1.0]), ("m", [2.0]), ("m", [3.0])]
    # What the front makes of them is not ours to count.
    assert (way.shown, way.cell(counters.CALLS), way.cell(counters.CALL_ROWS)) == ("busy", 0, 0)


@in_counted_time
async def test_rush_goes_joined_to_the_model() -> None:
    way = Way("rush")
    tasks = [way.ask(i) for i in (1, 2, 3)]
    await turns()
    assert (way.cell(counters.IN_FLIGHT), way.cell(counters.QUEUED)) == (3, 0)
    tasks += [way.ask(i) for i in (4, 5)]
    await turns()
    assert (way.cell(counters.IN_FLIGHT), way.cell(counters.QUEUED)) == (5, 2)
    assert await all_of(*tasks) == [[2.0], [4.0], [6.0], [8.0], [10.0]]
    assert way.sent == [("m_direct", [1.0, 2.0, 3.0]), ("m_direct", [4.0, 5.0])]
    assert (way.shown, way.cell(counters.CALLS), way.cell(counters.CALL_ROWS)) == ("rush", 2, 5)


@pytest.mark.parametrize(
    ("regime", "queue", "model"),
    [("idle", [0, 0, 0], [CALL] * 3), ("busy", [0, 0, 0], [CALL] * 3), ("rush", [0, 0, CALL], [CALL] * 3)],
)
@in_counted_time
async def test_the_wait_here_and_the_time_in_calls_are_told_apart(
    regime: RegimeName, queue: list[float], model: list[float]
) -> None:
    way = Way(regime)
    noted = [RequestTimings() for _ in range(3)]
    tasks = [way.ask(i, timings=noted[i]) for i in (0, 1)]
    await turns()
    await all_of(*tasks, way.ask(2, timings=noted[2]))
    # A call that others may join waits for them, a moment.
    assert [timings.queue for timings in noted] == pytest.approx(queue, abs=0.011)
    assert [timings.model for timings in noted] == pytest.approx(model)
    assert [timings.regime for timings in noted] == [regime] * 3
    # A joined call is one call, whatever it holds; what the front makes of its calls is another matter.
    times = {word: counters.call_times(way.table, way.name, word) for word in counters.WAYS}
    calls = {word: sum(cells[: counters.CALL_MS_SUM]) for word, cells in times.items()}
    assert calls == {"direct": {"idle": 3, "busy": 0, "rush": 2}[regime], "front": 3 if regime == "busy" else 0}
    spent = sum(cells[counters.CALL_MS_SUM] for cells in times.values())
    assert spent == pytest.approx(1e3 * CALL * sum(calls.values()))


@in_counted_time
async def test_a_request_in_parts_has_the_time_of_all_of_them() -> None:
    way = Way()
    timings = RequestTimings()
    await way.ask(*range(10), endpoint="predict", timings=timings)
    assert (timings.queue, timings.model) == pytest.approx((0, 3 * CALL))


@in_counted_time
async def test_a_request_whose_deadline_passes_in_the_queue_was_in_no_call() -> None:
    way = Way("rush")
    first = way.ask(1)
    await turns()
    timings = RequestTimings()
    assert await all_of(way.ask(2, timeout=CALL / 2, timings=timings)) == [errors.DeadlineExceeded]
    assert (timings.queue, timings.model) == pytest.approx((CALL / 2, 0), abs=RESOLUTION)
    assert await first == [2.0]


@pytest.mark.parametrize("regime", [None, *REGIMES])
@in_counted_time
async def test_predict_never_goes_to_the_front_and_is_joined_with_what_waits(regime: RegimeName | None) -> None:
    way = Way(regime)
    tasks = [way.ask(i, endpoint="predict") for i in (1, 2, 3)]
    assert await all_of(*tasks) == [[2.0], [4.0], [6.0]]
    assert way.sent == [("m_direct", [1.0]), ("m_direct", [2.0, 3.0])]
    assert all(4.8 < call.timeout <= 5 for call in way.backend.calls)


@pytest.mark.parametrize(("regime", "endpoint"), [(None, "predict"), (None, "predict_batched"), ("busy", "predict")])
@in_counted_time
async def test_no_call_waits_in_triton_behind_one_that_was_alone(regime: RegimeName | None, endpoint: Endpoint) -> None:
    """One instance: what comes while it is busy waits here, and makes the next call fuller."""
    way = Way(regime)
    tasks = []
    for i in range(4):
        tasks.append(way.ask(i, endpoint=endpoint))
        await asyncio.sleep(CALL / 10)
    assert way.sent == [("m_direct", [0.0])]
    assert await all_of(*tasks) == [[0.0], [2.0], [4.0], [6.0]]
    assert way.sent[1:] == [("m_direct", [1.0, 2.0, 3.0])]
    assert way.loop.time() == pytest.approx(2 * CALL)


@pytest.mark.parametrize("regime", [None, *REGIMES])
@in_counted_time
async def test_a_model_without_a_front_has_none_to_go_to(regime: RegimeName | None) -> None:
    way = Way(regime, PREDICT_ALONE)
    await all_of(*(way.ask(i, endpoint="predict") for i in (1, 2, 3)))
    assert {model for model, _ in way.sent} == {"m_direct"}
    way.route.refresh()
    assert way.shown == "idle"


@in_counted_time
async def test_more_rows_than_a_call_takes_go_in_parts_one_after_the_other() -> None:
    way = Way()
    assert await way.ask(*range(10), endpoint="predict") == [2.0 * i for i in range(10)]
    assert way.sent == [("m_direct", [0, 1, 2, 3]), ("m_direct", [4, 5, 6, 7]), ("m_direct", [8, 9])]
    assert [call.timeout for call in way.backend.calls] == pytest.approx([5, 4.9, 4.8])


@in_counted_time
async def test_a_request_that_is_alone_goes_straight_to_the_model() -> None:
    way = Way()
    for _ in range(3):
        assert await way.ask(1) == [2.0]
    assert way.sent == [("m_direct", [1.0])] * 3
    assert way.loop.time() == pytest.approx(3 * CALL)
    assert (way.shown, way.cell(counters.REGIME_CHANGES), way.cell(counters.CALLS)) == ("idle", 0, 3)


@in_counted_time
async def test_those_who_come_together_are_joined_and_the_board_says_so() -> None:
    way = Way(handler=takes(0.02))
    await way.in_a_row(40)
    assert (way.shown, way.cell(counters.REGIME_CHANGES)) == ("idle", 0)
    assert await all_of(*(way.ask(i) for i in (1, 2, 3))) == [[2.0], [4.0], [6.0]]
    assert way.sent[40:] == [("m_direct", [1.0]), ("m_direct", [2.0, 3.0])]
    assert (way.shown, way.cell(counters.REGIME_CHANGES)) == ("rush", 1)
    # Nothing arrives any more.
    way.route.refresh()
    assert (way.shown, way.cell(counters.REGIME_CHANGES)) == ("rush", 1)
    await asyncio.sleep(1)
    way.route.refresh()
    assert (way.shown, way.cell(counters.REGIME_CHANGES)) == ("idle", 2)


@in_counted_time
async def test_a_model_with_a_response_cache_always_goes_to_the_front_that_has_it() -> None:
    cached = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], caching=True)
    way = Way(entry=cached)
    assert await way.ask(1) == [2.0]
    assert await all_of(*(way.ask(i) for i in (2, 3))) == [[4.0], [6.0]]
    assert way.sent == [("m", [1.0]), ("m", [2.0]), ("m", [3.0])]
    assert way.shown == "busy"
    assert await way.ask(4, endpoint="predict") == [8.0]
    assert way.sent[3:] == [("m_direct", [4.0])]


@in_counted_time
async def test_those_who_are_expected_back_count_as_there() -> None:
    """Two who ask again as soon as they are answered go together: the first back does not go ahead alone."""
    way = Way(handler=takes(0.02))
    await way.in_a_row(40)

    async def asks_again(value: float) -> None:
        for _ in range(10):
            assert await way.ask(value, endpoint="predict") == [2 * value]
            await asyncio.sleep(0.001 * value)

    await asyncio.gather(asks_again(1), asks_again(2))
    assert way.sent[44:-2] == [("m_direct", [1.0, 2.0])] * len(way.sent[44:-2])
    assert len(way.sent) < 40 + 14


@pytest.mark.parametrize("regime", [None, *REGIMES])
@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (takes(9), errors.DeadlineExceeded),
        (lambda *_: asyncio.sleep(0, {}), errors.BadModelOutput),
        (lambda *_: asyncio.sleep(0, {"y": np.array([[np.nan]], np.float32)}), errors.BadModelOutput),
        (lambda *_: asyncio.sleep(0, {"y": np.zeros((2, 1), np.float32)}), errors.BadModelOutput),
    ],
)
@in_counted_time
async def test_a_request_that_fails_holds_nothing(regime: RegimeName | None, handler: Any, kind: type) -> None:
    way = Way(regime, handler=handler)
    assert await all_of(way.ask(1, timeout=0.5)) == [kind]
    assert way.loop.time() <= 0.5 + 0.01
    assert (way.cell(counters.IN_FLIGHT), way.cell(counters.QUEUED)) == (0, 0)
    way.backend.handler = double
    assert await way.ask(1) == [2.0]


# Not made smaller where it fails: a smaller seed is no simpler, and takes minutes to find.
@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**32), regime=st.sampled_from([None, *REGIMES]), instances=st.integers(1, 3))
def test_the_gauges_are_0_again_whatever_becomes_of_the_requests(
    seed: int, regime: RegimeName | None, instances: int
) -> None:
    chance = random.Random(seed)

    async def anything(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await asyncio.sleep(chance.choice([0, 0.001, 0.02, 0.5]))
        if chance.random() < 0.1:
            raise chance.choice([errors.ModelFailed("no"), errors.UpstreamDown("no"), RuntimeError("no")])
        return await double(model, arrays, outputs)

    async def main() -> None:
        entry = ONE.model_copy(update={"spec": ONE.spec.model_copy(update={"instances": instances}), "queue_size": 20})
        way = Way(regime, entry, anything)
        tasks = []
        for i in range(150):
            endpoint: Endpoint = chance.choice(["predict", "predict_batched"])
            rows = chance.choice([1, 1, 3, 9]) if endpoint == "predict" else 1
            tasks.append(way.ask(*[float(i)] * rows, endpoint=endpoint, timeout=chance.choice([-1, 0.01, 0.3, 5])))
            if chance.random() < 0.2:
                way.loop.call_later(chance.choice([0, 0.001, 0.1]), chance.choice(tasks).cancel)
            await asyncio.sleep(chance.choice([0, 0, 0, 0.001, 0.03]))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for i, result in enumerate(results):
            assert isinstance(result, BaseException) or set(result) == {2.0 * i}
        # Right answers and errors; a seed in some hundreds has one kind of error alone.
        assert len({type(result) for result in results}) > 1
        assert way.cell(counters.IN_FLIGHT) == 0
        # Who left the queue is noticed when the call in flight ends, whose clients may have left too.
        await asyncio.sleep(1)
        assert (way.cell(counters.IN_FLIGHT), way.cell(counters.QUEUED)) == (0, 0)
        way.backend.handler = double
        assert await way.ask(1) == [2.0]

    counted(main())
