"""Which queued requests are worth sending."""

from __future__ import annotations

import pytest

from adapter.batching.call_times import CallTimes
from adapter.batching.shedding import LoadShedder
from tests.support.batching import make_call_times


def after(*answered: float) -> CallTimes:
    times = make_call_times()
    for seconds in answered:
        times.record_answer(seconds)
    return times


def test_nobody_is_hopeless_while_nothing_is_known() -> None:
    assert not LoadShedder(after()).should_drop(left=0.0, waited=5.0, others=True)


@pytest.mark.parametrize(
    ("left", "waited", "others", "hopeless"),
    [
        (1.6, 5.0, True, False),
        # It might be in time, and others surely are.
        (1.4, 5.0, True, True),
        (1.4, 5.0, False, False),
        (0.9, 5.0, False, True),
        # It could not have been sent sooner.
        (0.9, 0.05, False, False),
        (0.9, 0.05, True, True),
    ],
)
def test_who_is_sent_where_a_call_takes_a_second(left: float, waited: float, others: bool, hopeless: bool) -> None:
    assert LoadShedder(after(1.0)).should_drop(left, waited, others) is hopeless


def test_slower_calls_are_believed_at_once_and_quicker_ones_by_and_by() -> None:
    times = after(0.1, 1.0)
    shedder = LoadShedder(times)
    assert shedder.should_drop(0.9, 5.0, False)
    times.record_answer(0.1)
    assert shedder.should_drop(0.9, 5.0, False)
    for _ in range(3):
        times.record_answer(0.1)
    assert not shedder.should_drop(0.9, 5.0, False)


def test_a_call_that_missed_its_deadline_takes_longer_than_that() -> None:
    times = after(0.1)
    shedder = LoadShedder(times)
    times.record_miss(0.4)
    assert shedder.should_drop(0.59, 5.0, False)
    assert not shedder.should_drop(0.61, 5.0, False)
    # Less than what is known already says nothing.
    times.record_miss(0.2)
    assert shedder.should_drop(0.59, 5.0, False)
