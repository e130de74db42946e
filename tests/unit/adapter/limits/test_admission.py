"""The bound of requests in flight."""

from __future__ import annotations

import pytest

from adapter.errors import Overloaded
from adapter.limits.admission import Admission
from adapter.workers import counters


def in_flight_cell() -> counters.Cell:
    return counters.Cell(counters.make_table([]), counters.ALL, 0, counters.IN_FLIGHT)


def test_the_bound_is_exact_and_a_place_is_free_again_afterwards() -> None:
    in_flight = in_flight_cell()
    admission = Admission(2, in_flight)
    admission.enter()
    admission.enter()
    assert in_flight.mine == 2
    for _ in range(3):
        with pytest.raises(Overloaded):
            admission.enter()
        # Who was refused holds nothing.
        assert in_flight.mine == 2
    admission.leave()
    assert in_flight.mine == 1
    admission.enter()
    assert in_flight.mine == 2
    with pytest.raises(Overloaded):
        admission.enter()
    admission.leave()
    admission.leave()
    assert in_flight.mine == 0


def test_retry_after_follows_the_time_that_requests_take_within_1_and_60_s() -> None:
    admission = Admission(1, in_flight_cell())
    assert admission.retry_after() == 1
    for _ in range(500):
        admission.observe(3.5)
    assert admission.retry_after() == 4
    admission.enter()
    with pytest.raises(Overloaded) as caught:
        admission.enter()
    assert caught.value.retry_after == 4
    for _ in range(500):
        admission.observe(1000)
    assert admission.retry_after() == 60
    for _ in range(500):
        admission.observe(0.002)
    assert admission.retry_after() == 1


def test_one_slow_request_does_not_move_retry_after_far() -> None:
    admission = Admission(1, in_flight_cell())
    admission.observe(15)
    assert admission.retry_after() == 1
