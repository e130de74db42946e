"""Whether a model answers: when a probe is sent, and when a model is taken for one that hangs; in counted time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.lifecycle.liveness import ModelLiveness
from adapter.workers import counters
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.fakes.loop import counted_loop, in_counted_time
from tests.support.lifecycle.served_models import make_registry

DEADLINE = 15.0


class Desk:
    """A watch of one ready model, and of so many others; `answers` says whether its Triton models do."""

    def __init__(self, entry: ModelEntry | None = None, others: int = 0) -> None:
        entries = [entry or make_entry("m"), *(make_entry(f"m{number}") for number in range(others))]
        self.table = counters.make_table([each.name for each in entries])
        self.registry = make_registry(make_manifest(*entries), self.table)
        self.model = self.registry.models["m"]
        self.model.status.adopt("ready")
        self.silent: set[str] = set()
        self.error: errors.AdapterError | None = None
        # Seconds of an answer.
        self.takes = 0.0
        self.backend = FakeBackend(self.handle)
        self.liveness = ModelLiveness(
            self.table, self.backend, DEADLINE, counted_loop().time, lambda entry: f"key-of-{entry.front}"
        )
        for model in self.registry.models.values():
            self.liveness.watch(model)
        self.hung: list[str] = []

    async def handle(self, model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        if model in self.silent:
            await asyncio.sleep(1e6)
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return await zeros(model, arrays, outputs)

    async def passes(self, seconds: int, each_second: int = 0) -> None:
        """The reconciler's passes, one a second; `each_second` answers of the model come between them."""
        for _ in range(seconds):
            await asyncio.sleep(1)
            self.cell(counters.ANSWERED).add(each_second)
            self.hung += [name for name in await self.liveness.find_hung(self.model) if name not in self.hung]

    def cell(self, cell: int) -> counters.Cell:
        return counters.Cell(self.table, "m", 0, cell)

    @property
    def canaries(self) -> list[str]:
        return [call.model for call in self.backend.calls]


@in_counted_time
async def test_an_idle_model_and_its_front_are_asked_every_ten_seconds() -> None:
    desk = Desk()
    await desk.passes(9)
    assert desk.canaries == []
    await desk.passes(2)
    assert sorted(desk.canaries) == ["m", "m_direct"]
    assert {call.model: call.request_id for call in desk.backend.calls} == {"m": "key-of-m", "m_direct": ""}
    await desk.passes(22)
    assert sorted(desk.canaries) == ["m"] * 3 + ["m_direct"] * 3
    assert desk.hung == []


@in_counted_time
async def test_many_idle_models_are_asked_less_often() -> None:
    desk = Desk(others=39)
    await desk.passes(79)
    assert desk.canaries == []
    await desk.passes(2)
    assert sorted(desk.canaries) == ["m", "m_direct"]


@in_counted_time
async def test_while_answers_come_nothing_is_asked_of_the_model() -> None:
    desk = Desk(make_entry("m", endpoints=["predict"]))
    desk.cell(counters.IN_FLIGHT).set(5)
    await desk.passes(60, each_second=1)
    assert (desk.canaries, desk.hung) == ([], [])


@pytest.mark.parametrize("model", ["m_direct", "m"])
@in_counted_time
async def test_a_silent_idle_model_hangs_after_a_canarys_deadline(model: str) -> None:
    desk = Desk()
    desk.silent = {model}
    await desk.passes(24)
    assert desk.hung == []
    await desk.passes(3)
    assert desk.hung == [model]


@in_counted_time
async def test_one_that_is_asked_is_found_out_sooner() -> None:
    desk = Desk()
    desk.silent = {"m_direct", "m"}
    desk.cell(counters.IN_FLIGHT).set(1)
    await desk.passes(2 + 14)
    assert desk.hung == []
    await desk.passes(3)
    assert desk.hung == ["m_direct", "m"]


@in_counted_time
async def test_calls_of_12_seconds_each_are_slow_and_no_hang() -> None:
    """The probe waits behind them; each answer pushes the proof out, and the next probe with it."""
    desk = Desk(make_entry("m", endpoints=["predict"]))
    desk.silent = {"m_direct"}
    desk.cell(counters.IN_FLIGHT).set(1)
    for _ in range(10):
        await desk.passes(11)
        await desk.passes(1, each_second=1)
    assert desk.hung == []
    assert len(desk.canaries) <= 3, "one that waits is enough"


@pytest.mark.parametrize("silent", ["m_direct", "m"])
@in_counted_time
async def test_a_model_that_answers_tritons_own_clients_does_not_hang(silent: str) -> None:
    """A probe waits behind their calls, which are 14 seconds each."""
    desk = Desk()
    desk.silent = {silent}
    for _ in range(10):
        desk.backend.executions[silent] = desk.backend.executions.get(silent, 0) + 1
        await desk.passes(14)
    assert desk.hung == []
    await desk.passes(2 * 14 + 3)
    assert desk.hung == [silent]


@in_counted_time
async def test_a_slow_model_that_answers_tritons_own_clients_is_asked_no_more() -> None:
    desk = Desk()
    desk.takes = 0.5
    await desk.passes(12)
    assert sorted(desk.canaries) == ["m", "m_direct"]
    for _ in range(60):
        for name in ("m", "m_direct"):
            desk.backend.executions[name] += 1
        await desk.passes(1)
    assert len(desk.canaries) == 2
    await desk.passes(21)
    assert set(desk.canaries[2:]) == {"m", "m_direct"}
    # Whoever waits here is not to wait for that.
    before = len(desk.canaries)
    desk.cell(counters.IN_FLIGHT).set(1)
    desk.backend.executions["m_direct"] += 1
    await desk.passes(4)
    assert "m_direct" in desk.canaries[before:]


@pytest.mark.parametrize("model", ["m_direct", "m"])
@in_counted_time
async def test_calls_of_a_quick_model_are_counted_once_a_probe_waits(model: str) -> None:
    desk = Desk()
    await desk.passes(32)
    # Before the first probes; what they take is not known then.
    assert sorted(desk.backend.counted) == ["m", "m_direct"]
    desk.silent = {model}
    await desk.passes(16)
    assert desk.backend.counted[2:] == [model]
    # Others are answered.
    desk.backend.executions[model] += 1
    await desk.passes(14)
    assert desk.hung == []
    await desk.passes(16)
    assert desk.hung == [model]


@in_counted_time
async def test_a_count_that_is_not_answered_saves_nobody() -> None:
    desk = Desk()
    desk.silent, desk.backend.up = {"m_direct"}, False
    await desk.passes(27)
    assert desk.hung == ["m_direct"]


@in_counted_time
async def test_a_model_that_usually_takes_long_is_asked_late() -> None:
    desk = Desk(make_entry("m", endpoints=["predict"]))
    desk.cell(counters.IN_FLIGHT).set(1)
    for _ in range(3):
        await desk.passes(5)
        await desk.passes(1, each_second=1)
    before = len(desk.canaries)
    for _ in range(5):
        await desk.passes(5)
        await desk.passes(1, each_second=1)
    assert len(desk.canaries) == before


@pytest.mark.parametrize(
    ("error", "hangs", "dead"),
    [
        (errors.ModelFailed("no", "[schwift:model_error] ValueError"), False, False),
        (errors.BadModelOutput("no", "output y is missing"), False, False),
        (errors.DeadlineExceeded("no", "[schwift:deadline] m_direct did not answer"), False, False),
        (errors.ModelProcessDead("no", "is not healthy"), False, True),
    ],
)
@in_counted_time
async def test_whatever_is_said_of_the_row_is_an_answer_but_of_a_dead_process(
    error: errors.AdapterError, hangs: bool, dead: bool
) -> None:
    desk = Desk()
    desk.error = error
    await desk.passes(12)
    assert (desk.model.dead, desk.model.ready) == (dead, not dead)
    assert bool(desk.hung) == hangs


@in_counted_time
async def test_a_triton_that_is_not_there_says_nothing_of_the_model() -> None:
    desk = Desk()
    desk.error = errors.UpstreamDown("no", "refused")
    await desk.passes(60)
    assert desk.hung == []
    assert not desk.model.dead


@in_counted_time
async def test_a_canary_of_a_model_that_is_loaded_anew_is_dropped() -> None:
    desk = Desk()
    desk.silent = {"m_direct", "m"}
    await desk.passes(12)
    assert sorted(desk.canaries) == ["m", "m_direct"]
    desk.liveness.unwatch(desk.model)
    await desk.passes(30)
    assert (len(desk.canaries), desk.hung) == (2, [])
    desk.silent = set()
    desk.liveness.watch(desk.model)
    await desk.passes(30)
    assert desk.hung == []


@in_counted_time
async def test_the_front_of_a_cached_model_gets_another_row_each_time() -> None:
    desk = Desk(make_entry("m", caching=True))
    await desk.passes(35)
    rows = [call.arrays["x"].tolist() for call in desk.backend.calls if call.model == "m"]
    assert len(rows) >= 3
    assert len({str(row) for row in rows}) == len(rows)
    direct = [call.arrays["x"].tolist() for call in desk.backend.calls if call.model == "m_direct"]
    assert direct == [[[1.0, 2.0, 3.0, 4.0]]] * len(direct)


@in_counted_time
async def test_where_no_row_can_be_new_a_cached_front_is_not_asked() -> None:
    desk = Desk(make_entry("m", inputs=[("x", "int64", (2,))], caching=True))
    await desk.passes(35)
    assert set(desk.canaries) == {"m_direct"}
