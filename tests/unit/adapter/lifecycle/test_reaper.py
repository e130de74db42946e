"""Processes that were unloaded: when those that are still there are ended, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from adapter.lifecycle.reaper import Processes, Reaper
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from tests.support.fakes.entries import make_entry

# A deadline of 2 s, and a second.
PATIENCE = 3.0
ORDERLY = 600.0
# In which Triton notices the model's end, before its front is ended.
NOTICE = 2.0
ENTRY = make_entry("m")
ALL = Processes(models=(13,), fronts=(11, 12))


class Machine(StubProcesses):
    """The processes of `m`; all began at 7, until they are gone."""

    def __init__(self) -> None:
        super().__init__("")
        self._pids = {"m": ALL.fronts, "m_direct": ALL.models}
        self.living = {11, 12, 13}
        self.readable = True
        self.scans = 0

    def scan(self) -> None:
        self.scans += 1

    def _began(self, pid: int) -> int | None:
        if not self.readable:
            raise OSError("Too many open files")
        return 7 if pid in self.living else None


class Serve(SupervisorPipe):
    def __init__(self) -> None:
        self.ended: list[int] = []

    def end(self, pid: int) -> bool:
        self.ended.append(pid)
        return True


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.stubs, self.serve = Machine(), Serve()
        self.reaper = Reaper(self.stubs, self.serve, PATIENCE - 1, lambda: self.now)

    def look(self, after: float = 0.0) -> list[int]:
        """Those that it ended, so many seconds later."""
        self.now += after
        self.serve.ended.clear()
        self.reaper.end_due()
        return self.serve.ended


def test_what_was_not_unloaded_is_never_ended() -> None:
    bench = Bench()
    for _ in range(5):
        assert bench.look(after=ORDERLY) == []
    assert bench.stubs.of(["m", "m_direct"]) == (11, 12, 13)


def test_they_are_those_of_the_model_and_of_its_front_but_for_what_is_used_on() -> None:
    bench = Bench()
    assert asyncio.run(bench.reaper.processes(ENTRY)) == ALL
    assert asyncio.run(bench.reaper.processes(ENTRY, {"m_direct"})) == Processes(fronts=(11, 12))
    assert asyncio.run(bench.reaper.processes(make_entry("m", endpoints=["predict"]))) == Processes(models=(13,))
    assert bench.stubs.scans == 3
    assert ALL.without(Processes(models=(13, 21), fronts=(12,))) == Processes(fronts=(11,))


@pytest.mark.parametrize(("orderly", "patience"), [(False, PATIENCE), (True, ORDERLY)])
def test_fronts_that_are_left_are_ended_when_their_time_is_over(orderly: bool, patience: float) -> None:
    bench = Bench()
    bench.reaper.unloaded(ALL, orderly)
    # They count no more, though they are there.
    assert bench.stubs.of(["m", "m_direct"]) == ()
    bench.stubs.living = {12}
    assert bench.look(after=patience - 0.01) == []
    assert bench.look(after=0.01) == [12]
    # Until it is gone; whoever has its number then is another.
    assert bench.look(after=1) == [12]
    bench.stubs.living.clear()
    assert bench.look(after=1) == []
    bench.stubs.living.add(12)
    assert bench.look(after=patience) == []


def test_the_model_goes_before_the_front_that_may_wait_for_it() -> None:
    bench = Bench()
    bench.reaper.unloaded(ALL)
    assert bench.look(after=PATIENCE) == [13]
    bench.stubs.living.discard(13)
    assert bench.look(after=NOTICE - 0.01) == []
    assert bench.look(after=0.01) == [11, 12]


def test_a_model_that_does_not_end_keeps_its_front() -> None:
    bench = Bench()
    bench.reaper.unloaded(ALL)
    for _ in range(5):
        assert bench.look(after=PATIENCE) == [13]


def test_one_that_cannot_be_looked_at_now_is_not_gone() -> None:
    bench = Bench()
    bench.reaper.unloaded(Processes(models=(13,)))
    bench.stubs.readable = False
    assert bench.look() == []
    bench.stubs.readable = True
    assert bench.look(after=PATIENCE) == [13]


def test_where_the_processes_are_not_ours_nothing_is_done() -> None:
    now = [0.0]
    for supervisor in (None, Serve()):
        elsewhere = Reaper(None, supervisor, 0, lambda: now[0])
        assert asyncio.run(elsewhere.processes(ENTRY)) == Processes()
        elsewhere.unloaded(ALL)
        elsewhere.end_due()
    nobodys = Reaper(Machine(), None, 0, lambda: now[0])
    nobodys.unloaded(ALL)
    now[0] += ORDERLY
    nobodys.end_due()
