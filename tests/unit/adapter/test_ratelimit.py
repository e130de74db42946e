"""The quota of a client, with a clock that the test turns."""

from __future__ import annotations

import pytest

from adapter.errors import QuotaExceeded
from adapter.ratelimit import Quota


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(quota: Quota, client: str) -> float:
    """The seconds that the client is told to wait."""
    with pytest.raises(QuotaExceeded) as caught:
        quota.take(client)
    return caught.value.retry_after


def test_the_quota_is_available_at_once_and_then_refused() -> None:
    quota = Quota(3, 60, Clock())
    for _ in range(3):
        quota.take("a")
    assert refused(quota, "a") == pytest.approx(20)


def test_each_client_has_its_own() -> None:
    quota = Quota(1, 60, Clock())
    quota.take("a")
    quota.take("b")
    refused(quota, "a")
    refused(quota, "b")


def test_tokens_come_back_evenly_and_a_refusal_costs_none() -> None:
    clock = Clock()
    quota = Quota(2, 10, clock)
    quota.take("a")
    quota.take("a")
    clock.now += 4
    assert refused(quota, "a") == pytest.approx(1)
    assert refused(quota, "a") == pytest.approx(1)
    clock.now += 1
    quota.take("a")
    assert refused(quota, "a") == pytest.approx(5)


def test_a_long_pause_does_not_save_up_more_than_the_quota() -> None:
    clock = Clock()
    quota = Quota(2, 10, clock)
    quota.take("a")
    clock.now += 10_000
    quota.take("a")
    quota.take("a")
    refused(quota, "a")


def test_waiting_as_long_as_told_is_enough() -> None:
    clock = Clock()
    quota = Quota(7, 60, clock)
    for _ in range(7):
        quota.take("a")
    clock.now += refused(quota, "a") + 1e-6
    quota.take("a")


def test_many_clients_are_bounded_and_the_active_one_is_not_forgotten() -> None:
    quota = Quota(1, 60, Clock())
    quota.take("idle")
    quota.take("active")
    for i in range(9_999):
        quota.take(f"client {i}")
        refused(quota, "active")
    quota.take("idle")  # forgotten: a full bucket again
    refused(quota, "active")
