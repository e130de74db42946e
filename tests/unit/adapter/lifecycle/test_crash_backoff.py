"""How long a model that dies is left before it is loaded again, and when it is left for good."""

from __future__ import annotations

from adapter.lifecycle.recovery import CrashBackoff


def test_the_first_time_at_once_then_later_and_later_and_then_no_more() -> None:
    crash_backoff = CrashBackoff()
    assert [crash_backoff.died(now) for now in (0, 10, 20, 30, 40)] == [0, 1, 2, 4, None]


def test_deaths_of_long_ago_do_not_count() -> None:
    crash_backoff = CrashBackoff()
    for now in (0, 1, 2, 3):
        crash_backoff.died(now)
    assert crash_backoff.died(700) == 0
    assert crash_backoff.died(701) == 1


def test_a_death_that_is_forgiven_does_not_count() -> None:
    crash_backoff = CrashBackoff()
    for now in range(20):
        assert crash_backoff.died(now) == 0
        crash_backoff.forgive()
    assert crash_backoff.died(20) == 0
    assert crash_backoff.died(21) == 1
    # A reload has forgiven all meanwhile.
    for _ in range(3):
        crash_backoff.forgive()
    assert crash_backoff.died(22) == 0
