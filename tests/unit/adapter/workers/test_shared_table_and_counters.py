"""The numbers that worker processes share, and what is counted in them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from adapter.error_codes import CODES
from adapter.errors import Overloaded
from adapter.limits.admission import Admission
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.model import ENDPOINTS, Endpoint
from tests.support.builders import make_metrics
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.served_models import make_registry

GAUGES = {
    counters.IN_FLIGHT,
    counters.QUEUED,
    counters.QUEUED_ROWS,
    counters.REGIME,
    counters.MEMORY,
    counters.ADOPTED,
    counters.WANTED,
    counters.PID,
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def test_each_name_and_worker_has_cells_of_its_own() -> None:
    table = SharedTable(["a", "b", ""], width=3, workers=4)
    number = 0
    for name in ("a", "b", ""):
        for worker in range(4):
            row = table.row(name, worker)
            assert row.tolist() == [0, 0, 0]
            for cell in range(3):
                number += 1
                row[cell] = number
    assert [row.tolist() for row in table.rows("b")] == [[13, 14, 15], [16, 17, 18], [19, 20, 21], [22, 23, 24]]
    assert [row.tolist() for row in table.rows("")][3] == [34, 35, 36]
    assert table.row("a", 0).tolist() == [1, 2, 3]
    with pytest.raises(KeyError):
        table.row("c", 0)


def test_names_that_come_later_have_the_spare_rows_in_order() -> None:
    table = SharedTable(["a"], width=2, workers=2, spare=2)
    table.row("a", 1)[0] = 1
    assert table.add(["a", "b"]) == ["b"]
    assert (table.names, table.room) == (["a", "b"], 1)
    table.row("b", 0)[1] = 2
    assert [row.tolist() for row in (*table.rows("a"), *table.rows("b"))] == [[0, 0], [1, 0], [0, 2], [0, 0]]
    with pytest.raises(ValueError, match="room for 1 more names, not 2"):
        table.add(["c", "d"])
    assert table.names == ["a", "b"]


def test_two_workers_rows_add_up() -> None:
    table = counters.make_table(["a", "b"], 2)
    counts = [counters.EndpointCounters(table, "a", worker, "predict") for worker in range(2)]
    counts[0].answered(0.004, 3, 0.001, 0.002)
    counts[1].answered(0.006, 5, 0.002, 0.003)
    counts[1].failed("queue_full")
    cells = counters.totals(table, "a", "predict")
    assert sum(cells[: len(CODES)]) == 3
    assert cells[counters.LATENCY_SUM] == pytest.approx(10)
    assert cells[counters.ROWS_SUM] == 8
    assert [cells[counters.QUEUE_SUM], cells[counters.MODEL_SUM]] == pytest.approx([0.003, 0.005])
    for worker, seconds in enumerate((0.004, 0.007)):
        counters.CallHistogram(table, "a", worker, "front").took(seconds)
    times = counters.call_times(table, "a", "front")
    assert sum(times[: counters.CALL_MS_SUM]) == 2
    assert times[counters.CALL_MS_SUM] == pytest.approx(11)
    assert set(counters.call_times(table, "a", "direct")) == {0}
    assert set(counters.totals(table, "a", "predict_batched")) == {0}
    assert set(counters.totals(table, "b", "predict")) == {0}
    queued = [counters.Cell(table, "a", worker, counters.QUEUED) for worker in range(2)]
    queued[0].add(2)
    queued[1].set(5)
    queued[1].add(-1)
    assert [gauge.mine for gauge in queued] == [2, 4]
    assert [gauge.total() for gauge in queued] == [6, 6]
    assert counters.total(table, "a", counters.QUEUED) == 6
    assert counters.total(table, "b", counters.QUEUED) == 0


def test_of_several_workers_the_busiest_ones_regime_is_shown() -> None:
    table = counters.make_table(["a", "b"], 3)
    metrics = make_metrics(make_registry(make_manifest(make_entry("a"), make_entry("b"))), table)
    assert metrics.regime_of("a") == "idle"
    counters.Cell(table, "a", 1, counters.REGIME).set(2)
    counters.Cell(table, "a", 2, counters.REGIME).set(1)
    assert (metrics.regime_of("a"), metrics.regime_of("b")) == ("rush", "idle")


def test_a_worker_that_begins_clears_its_gauges_and_nothing_else() -> None:
    table = counters.make_table(["a", "b"], 2)
    for name in (counters.ALL, "a", "b"):
        for worker in range(2):
            for cell in range(counters.WIDTH):
                table.row(name, worker)[cell] = cell + 1
    untouched = [float(cell + 1) for cell in range(counters.WIDTH)]
    counters.begin(table, ["a"], 1)
    cleared = [0.0 if cell in GAUGES else cell + 1.0 for cell in range(counters.WIDTH)]
    assert table.row("a", 1).tolist() == cleared
    assert table.row(counters.ALL, 1).tolist() == cleared
    assert table.row("b", 1).tolist() == untouched
    for name in (counters.ALL, "a", "b"):
        assert table.row(name, 0).tolist() == untouched


def test_no_two_things_are_counted_in_one_cell() -> None:
    seen: list[set[int]] = []

    def note(count: Callable[[SharedTable], None]) -> None:
        table = counters.make_table(["a"])
        count(table)
        seen.append({cell for cell, value in enumerate(table.row("a", 0).tolist()) if value})

    def failed(endpoint: Endpoint, code: str) -> Callable[[SharedTable], None]:
        return lambda table: counters.EndpointCounters(table, "a", 0, endpoint).failed(code)

    def answered(endpoint: Endpoint) -> Callable[[SharedTable], None]:
        # Over every bound: the last buckets.
        return lambda table: counters.EndpointCounters(table, "a", 0, endpoint).answered(100, 5000, 1, 2)

    def changed(cell: int) -> Callable[[SharedTable], None]:
        return lambda table: counters.Cell(table, "a", 0, cell).add(1)

    for endpoint in ENDPOINTS:
        for _, code in CODES[1:]:
            note(failed(endpoint, code))
        note(answered(endpoint))
        assert len(seen[-1]) == 7
    for way in counters.WAYS:
        note(lambda table, way=way: counters.CallHistogram(table, "a", 0, way).took(100))  # type: ignore[misc]
        assert len(seen[-1]) == 2
    for cell in (*GAUGES, counters.REGIME_CHANGES, counters.CALLS, counters.CALL_ROWS, counters.DEAD_INCARNATION):
        note(changed(cell))
    cells = [cell for group in seen for cell in group]
    assert len(cells) == len(set(cells))
    assert max(cells) < counters.WIDTH


def test_each_code_is_counted_by_itself() -> None:
    registry = make_registry(make_manifest(make_entry("a")))
    table = counters.make_table(["a"])
    counts = counters.EndpointCounters(table, "a", 0, "predict")
    for times, (_, code) in enumerate(CODES[1:], 1):
        for _ in range(times):
            counts.failed(code)
    shown = samples(asyncio.run(make_metrics(registry, table).render()), "schwift_responses")
    labels = {"model_name": "a", "endpoint": "predict"}
    other = {"model_name": "a", "endpoint": "predict_batched"}
    assert shown == {
        ("schwift_responses_total", frozenset({**labels, "status": str(status), "code": code}.items())): times
        for times, (status, code) in enumerate(CODES[1:], 1)
    } | {
        # The other endpoint's.
        ("schwift_responses_total", frozenset({**other, "status": str(status), "code": code}.items())): 0
        for status, code in CODES
        if status >= 500
    }


def samples(text: bytes, family: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for found in text_string_to_metric_families(text.decode())
        if found.name == family
        for sample in found.samples
        if not sample.name.endswith("_created")
    }


Observations = Sequence[tuple[float, int, int]]
MILLISECONDS = st.one_of(st.sampled_from(counters.LATENCY_MS), st.floats(0, 20_000), st.floats(0, 0.01))
ROWS = st.one_of(st.sampled_from(counters.ROWS), st.integers(1, 3000))
OBSERVED = st.lists(st.tuples(MILLISECONDS.map(lambda ms: ms / 1e3), ROWS, st.integers(0, 1)), max_size=60)


@settings(deadline=None, max_examples=150)
@given(observed=OBSERVED, workers=st.integers(1, 2))
def test_histograms_are_those_of_prometheus(observed: Observations, workers: int) -> None:
    oracle = CollectorRegistry()
    labels = ("model_name", "endpoint")
    latency = Histogram("inference_latency_ms", "x", labels, buckets=counters.LATENCY_MS, registry=oracle)
    rows = Histogram("inference_batch_size", "x", labels, buckets=counters.ROWS, registry=oracle)
    registry = make_registry(make_manifest(make_entry("a")))
    table = counters.make_table(["a"], workers)
    for seconds, count, worker in observed:
        counters.EndpointCounters(table, "a", worker % workers, "predict").answered(seconds, count)
        latency.labels("a", "predict").observe(seconds * 1e3)
        rows.labels("a", "predict").observe(count)
    for family in ("inference_latency_ms", "inference_batch_size"):
        texts = asyncio.run(make_metrics(registry, table).render()), generate_latest(oracle)
        got, wanted = (samples(text, family) for text in texts)
        assert len(wanted) >= len(counters.ROWS) + 3 or not observed
        # The two workers' sums are added in another order.
        assert got == (wanted if workers == 1 else pytest.approx(wanted))


def admissions(limit: int, workers: int = 2) -> tuple[SharedTable, list[Admission]]:
    table = counters.make_table([], workers)
    gauges = [counters.Cell(table, counters.ALL, worker, counters.IN_FLIGHT) for worker in range(workers)]
    return table, [Admission(limit, gauge) for gauge in gauges]


@settings(deadline=None, max_examples=150)
@given(limit=st.integers(1, 5), steps=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=80))
def test_the_bound_of_requests_in_flight_holds_over_all_workers(limit: int, steps: list[tuple[int, bool]]) -> None:
    table, workers = admissions(limit, 3)
    held = [0, 0, 0]
    for worker, enters in steps:
        if not enters:
            if held[worker]:
                workers[worker].leave()
                held[worker] -= 1
        elif sum(held) < limit:
            workers[worker].enter()
            held[worker] += 1
        else:
            with pytest.raises(Overloaded):
                workers[worker].enter()
        assert counters.total(table, counters.ALL, counters.IN_FLIGHT) == sum(held)


class Raced(counters.Cell):
    """While its total is made, another worker does something, before or after the sum."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def total(self) -> float:
        before, self.before = self.before, None
        if before is not None:
            before()
        value = super().total()
        after, self.after = self.after, None
        if after is not None:
            after()
        return value


@pytest.mark.parametrize("moment", ["before", "after"])
def test_of_two_workers_that_race_for_the_last_place_at_most_one_gets_it(moment: str) -> None:
    table = counters.make_table([], 2)
    gauge = Raced(table, counters.ALL, 0, counters.IN_FLIGHT)
    mine, other = Admission(1, gauge), Admission(1, counters.Cell(table, counters.ALL, 1, counters.IN_FLIGHT))
    inside: list[str] = []

    def enter(admission: Admission, name: str) -> None:
        try:
            admission.enter()
        except Overloaded:
            return
        inside.append(name)

    setattr(gauge, moment, lambda: enter(other, "other"))
    enter(mine, "mine")
    assert inside == ["mine"]
    assert counters.total(table, counters.ALL, counters.IN_FLIGHT) == 1
    mine.leave()
    enter(other, "other")
    assert inside == ["mine", "other"]


def test_processes_that_were_forked_write_on_the_same_board() -> None:
    # In a process of its own: this one may have threads, which do not outlive a fork.
    script = """
    import os
    from adapter.workers import counters

    table = counters.make_table(["a"], 3)
    for worker in (1, 2):
        child = os.fork()
        if child == 0:
            counters.EndpointCounters(table, "a", worker, "predict").answered(0.001, worker * 10)
            counters.Cell(table, "a", worker, counters.QUEUED).add(worker)
            os._exit(0)
        os.waitpid(child, 0)
    # What the dead leave stays.
    print(counters.totals(table, "a", "predict")[counters.ROWS_SUM], counters.total(table, "a", counters.QUEUED))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["30.0", "3.0"]
