"""The circuit breaker: when it opens, for how long, whom it lets through, and when it closes."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapter.errors import BreakerOpen
from adapter.limits.breaker import Breaker
from converter.schema.settings import load_settings
from tests.support.builders import make_breaker_cells


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A breaker of each worker, on one clock; `chance` is what the jitter draws."""

    def __init__(self, workers: int = 1, longest: float = 30, chance: float = 0.0) -> None:
        self.clock = Clock()
        boards = make_breaker_cells(["", "m"], workers)
        self.workers = [Breaker(boards, "m", i, longest, self.clock, lambda: chance) for i in range(workers)]
        self.breaker = self.workers[0]

    def fail(self, count: int, connecting: bool = False) -> None:
        for _ in range(count):
            self.breaker.failed(self.clock.now, connecting=connecting)

    def answer(self, count: int) -> None:
        for _ in range(count):
            self.breaker.succeeded(self.clock.now)

    def refused(self, worker: int = 0) -> float:
        """The seconds after which to come back."""
        with pytest.raises(BreakerOpen) as caught:
            self.workers[worker].admit(15)
        return caught.value.retry_after


def test_it_opens_at_20_calls_of_which_half_failed() -> None:
    desk = Desk()
    desk.answer(10)
    desk.fail(9)
    assert desk.breaker.state == "closed"
    desk.fail(1)
    assert (desk.breaker.state, desk.breaker.opened) == ("open", 1)


def test_19_failures_of_19_calls_are_too_few() -> None:
    desk = Desk()
    desk.fail(19)
    assert desk.breaker.closed
    desk.fail(1)
    assert not desk.breaker.closed


def test_less_than_half_is_not_enough() -> None:
    desk = Desk()
    desk.answer(100)
    desk.fail(99)
    assert desk.breaker.closed
    desk.fail(1)
    assert not desk.breaker.closed


def test_what_is_older_than_the_window_does_not_count() -> None:
    desk = Desk()
    desk.fail(19)
    desk.clock.now += 11
    desk.fail(19)
    assert desk.breaker.closed
    desk.clock.now += 9
    desk.fail(1)
    assert not desk.breaker.closed


def test_a_slot_that_is_used_again_holds_nothing_of_before() -> None:
    desk = Desk()
    desk.answer(1000)
    desk.clock.now += 11
    desk.fail(20)
    assert not desk.breaker.closed


def test_five_connect_failures_in_a_row_open_it_whatever_was_before() -> None:
    desk = Desk()
    desk.answer(1000)
    desk.fail(4, connecting=True)
    desk.answer(1)
    desk.fail(4, connecting=True)
    assert desk.breaker.closed
    desk.fail(1, connecting=True)
    assert not desk.breaker.closed


def test_open_it_refuses_and_says_for_how_long() -> None:
    desk = Desk()
    desk.fail(20)
    assert desk.refused() == 1.0
    desk.clock.now += 0.75
    assert desk.refused() == 0.25


def test_the_open_time_doubles_up_to_its_bound_and_begins_anew_once_closed() -> None:
    desk = Desk(longest=5)
    desk.fail(20)
    times = []
    for _ in range(5):
        times.append(desk.refused())
        desk.clock.now += times[-1]
        desk.breaker.failed(desk.clock.now, desk.breaker.admit(15))
    assert times == [1, 2, 4, 5, 5]
    assert desk.breaker.opened == 6
    desk.clock.now += 5
    for _ in range(3):
        desk.breaker.succeeded(desk.clock.now, desk.breaker.admit(15))
    assert desk.breaker.closed
    desk.clock.now += 1
    desk.fail(20)
    assert desk.refused() == 1


def test_jitter_makes_it_longer_but_never_longer_than_the_bound() -> None:
    desk = Desk(longest=1.5, chance=0.5)
    desk.fail(20)
    assert desk.refused() == pytest.approx(1.1)
    desk.clock.now += 1.1
    desk.breaker.failed(desk.clock.now, desk.breaker.admit(15))
    assert desk.refused() == pytest.approx(1.5)


def test_one_probe_at_a_time_and_three_that_are_answered_close_it() -> None:
    desk = Desk()
    desk.fail(20)
    desk.clock.now += 1
    for _ in range(3):
        probe = desk.breaker.admit(15)
        assert probe and desk.breaker.state == "half_open"
        assert [desk.refused() for _ in range(50)] == [1.0] * 50
        desk.breaker.succeeded(desk.clock.now, probe)
    assert desk.breaker.closed
    assert desk.breaker.admit(15) == 0


def test_of_all_workers_together_one_probe_goes_through() -> None:
    desk = Desk(workers=3)
    desk.fail(20)
    assert [worker.state for worker in desk.workers] == ["open"] * 3
    desk.clock.now += 1
    probe = desk.workers[1].admit(15)
    assert [desk.refused(worker) for worker in range(3)] == [1.0] * 3
    desk.workers[1].succeeded(desk.clock.now, probe)
    assert desk.workers[2].admit(15) == probe + 1


def test_the_failures_of_all_workers_count_together() -> None:
    desk = Desk(workers=2)
    desk.fail(10)
    for _ in range(9):
        desk.workers[1].failed(desk.clock.now)
    assert desk.breaker.closed
    desk.workers[1].failed(desk.clock.now)
    assert not desk.breaker.closed


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    desk = Desk()
    desk.fail(20)
    desk.clock.now += 1
    desk.breaker.release(desk.breaker.admit(15))
    assert desk.breaker.state == "half_open"
    assert desk.breaker.admit(15) == 2


def test_a_probe_of_a_worker_that_died_does_not_keep_others_out_for_ever() -> None:
    desk = Desk()
    desk.fail(20)
    desk.clock.now += 1
    lost = desk.breaker.admit(15)
    desk.clock.now += 15
    assert desk.refused() == 1.0
    desk.clock.now += 1
    probe = desk.breaker.admit(15)
    assert probe == lost + 1
    # What comes of the lost one after all says nothing, and does not free the place of the other.
    desk.breaker.failed(desk.clock.now, lost)
    desk.breaker.release(lost)
    assert desk.breaker.state == "half_open"
    assert desk.refused() == 1.0


def test_what_ends_late_neither_closes_nor_opens_it() -> None:
    desk = Desk()
    desk.fail(20)
    desk.answer(100)
    desk.fail(100)
    assert (desk.breaker.state, desk.breaker.opened) == ("open", 1)
    assert desk.refused() == 1.0


def test_what_failed_before_it_closed_counts_no_more() -> None:
    desk = Desk(workers=2)
    desk.fail(20)
    desk.breaker.reset()
    assert desk.workers[1].closed
    desk.fail(1)
    desk.workers[1].failed(desk.clock.now)
    assert desk.breaker.closed


def test_two_breakers_of_one_board_know_nothing_of_each_other() -> None:
    clock = Clock()
    boards = make_breaker_cells(["", "a", "b"])
    a, b = (Breaker(boards, name, 0, 30, clock) for name in ("a", "b"))
    for _ in range(20):
        a.failed(clock.now)
    assert (a.state, b.state) == ("open", "closed")


def test_R28_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it goes by the monotonic clock: the wall clock may jump by years in either direction."""
    for wall in (0.0, 4e9, 1.0):
        monkeypatch.setattr(time, "time", lambda wall=wall: wall)
        breaker = Breaker(make_breaker_cells(["m"]), "m", 0, longest=0.001)
        for _ in range(20):
            breaker.failed(time.monotonic())
        assert not breaker.closed
        ends = time.monotonic() + 5
        while not breaker.closed:
            assert time.monotonic() < ends
            try:
                probe = breaker.admit(1)
            except BreakerOpen as error:
                assert 0 < error.retry_after <= 0.001
            else:
                breaker.succeeded(time.monotonic(), probe)


def test_the_state_is_shared_with_a_forked_worker() -> None:
    boards = make_breaker_cells(["m"], workers=2)
    clock = Clock()
    ours = Breaker(boards, "m", 0, 30, clock)
    pid = os.fork()
    if pid == 0:
        theirs = Breaker(boards, "m", 1, 30, clock)
        for _ in range(20):
            theirs.failed(clock.now)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert (ours.state, ours.opened) == ("open", 1)


def test_the_longest_open_time_is_a_setting() -> None:
    assert load_settings(None).circuit_breaker_recovery_timeout == 30


class Machine(RuleBasedStateMachine):
    """Any order of events in two workers, against what is promised."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(workers=2, longest=8, chance=1.0)
        self.probes: list[tuple[int, int]] = []
        self.answered = 0
        self.opened = 0

    @property
    def now(self) -> float:
        return self.desk.clock.now

    @rule(seconds=st.sampled_from([0.1, 0.5, 1, 2, 8, 30]))
    def time_passes(self, seconds: float) -> None:
        self.desk.clock.now += seconds

    @rule(worker=st.integers(0, 1), count=st.integers(1, 25), failed=st.booleans(), connecting=st.booleans())
    def calls_end(self, worker: int, count: int, failed: bool, connecting: bool) -> None:
        breaker = self.desk.workers[worker]
        before = breaker.state
        for _ in range(count):
            if failed:
                breaker.failed(self.now, connecting=connecting)
            else:
                breaker.succeeded(self.now)
        # What was sent before it opened changes nothing while it is not closed; nothing closes but probes.
        assert breaker.state == before or (before, breaker.state, failed) == ("closed", "open", True)
        if before != breaker.state:
            self.answered = 0

    @rule(worker=st.integers(0, 1))
    def request_comes(self, worker: int) -> None:
        breaker = self.desk.workers[worker]
        before, out = breaker.state, len(self.probes)
        try:
            probe = breaker.admit(5)
        except BreakerOpen as error:
            assert before != "closed"
            assert 0 < error.retry_after <= 8
            return
        assert (probe == 0) == (before == "closed")
        if probe:
            # Where one is out already, it is out for longer than it may be.
            self.probes = [(number, ends) for number, ends in self.probes if ends > self.now]
            assert out == 0 or not self.probes
            self.probes.append((probe, int(self.now + 6)))

    @precondition(lambda self: self.probes)
    @rule(worker=st.integers(0, 1), outcome=st.sampled_from(["answered", "failed", "nothing"]))
    def probe_ends(self, worker: int, outcome: str) -> None:
        breaker = self.desk.workers[worker]
        (probe, _), *self.probes = self.probes
        before = breaker.state
        if outcome == "answered":
            breaker.succeeded(self.now, probe)
            if before == "half_open":
                self.answered += 1
                assert (breaker.state == "closed") == (self.answered == 3)
        elif outcome == "failed":
            breaker.failed(self.now, probe)
            assert breaker.state == ("open" if before == "half_open" else before)
        breaker.release(probe)
        if breaker.state != "half_open":
            self.answered = 0

    @invariant()
    def all_workers_see_the_same(self) -> None:
        first, second = self.desk.workers
        assert (first.state, first.opened) == (second.state, second.opened)
        assert first.opened >= self.opened
        self.opened = first.opened


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
