"""How long a process that ends again and again is left alone."""

from __future__ import annotations

from schwift.backoff import RestartBackoff


def test_waits_double_up_to_ten_seconds() -> None:
    backoff = RestartBackoff()
    assert [backoff.after(0) for _ in range(9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


def test_a_life_of_a_minute_was_a_good_one() -> None:
    backoff = RestartBackoff()
    assert [backoff.after(lived) for lived in (0, 59.9, 60, 0, 3600, 1)] == [0.1, 0.2, 0.1, 0.2, 0.1, 0.2]
