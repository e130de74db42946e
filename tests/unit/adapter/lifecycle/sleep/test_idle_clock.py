"""For how long nobody has asked a model, by the counters of all workers."""

from __future__ import annotations

import pytest

from adapter.lifecycle.sleep.idle_clock import IdleClock
from adapter.workers import counters
from adapter.workers.counters import Cell
from adapter.workers.shared_table import SharedTable


def cell(table: SharedTable, worker: int, number: int) -> Cell:
    return Cell(table, "m", worker, number)


@pytest.mark.parametrize("way", [counters.ANSWERED, counters.FRONT_ANSWERED])
def test_an_answer_of_any_worker_counts_from_when_it_is_seen(way: int) -> None:
    table = counters.make_table(["m"], workers=2)
    idle = IdleClock(table, "m")
    idle.restart(10.0)
    assert (idle.was_asked(), idle.idle_seconds(15.0)) == (False, 5.0)
    cell(table, 1, way).add(1)
    assert (idle.was_asked(), idle.idle_seconds(20.0), idle.idle_seconds(23.0)) == (True, 0.0, 3.0)


def test_who_is_in_a_call_asks_all_the_while() -> None:
    table = counters.make_table(["m"], workers=2)
    idle = IdleClock(table, "m")
    idle.restart(0.0)
    cell(table, 1, counters.IN_FLIGHT).add(1)
    assert [idle.idle_seconds(now) for now in (5.0, 10.0)] == [0.0, 0.0]
    cell(table, 1, counters.IN_FLIGHT).add(-1)
    assert (idle.was_asked(), idle.idle_seconds(12.0)) == (False, 2.0)


def test_a_worker_that_takes_the_lead_counts_from_its_first_look() -> None:
    table = counters.make_table(["m"])
    cell(table, 0, counters.ANSWERED).add(7)
    assert not IdleClock(table, "m").was_asked()
    idle = IdleClock(table, "m")
    assert [idle.idle_seconds(now) for now in (1000.0, 1001.5)] == [0.0, 1.5]
