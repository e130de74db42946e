"""The quota of a client, with a clock that the test turns."""

from __future__ import annotations

import contextlib
import os

import pytest

from adapter.errors import QuotaExceeded
from adapter.limits.rate_limit import Quota


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def take(quota: Quota, client: str) -> None:
    account = quota.account(client)
    assert account is not None
    account.take_request()


def refused(quota: Quota, client: str) -> float:
    """The seconds that the client is told to wait."""
    with pytest.raises(QuotaExceeded) as caught:
        take(quota, client)
    return caught.value.retry_after


def test_the_quota_is_available_at_once_and_then_refused() -> None:
    quota = Quota(3, 60, clock=Clock())
    for _ in range(3):
        take(quota, "a")
    assert refused(quota, "a") == pytest.approx(20)


def test_each_client_has_its_own() -> None:
    quota = Quota(1, 60, clock=Clock())
    take(quota, "a")
    take(quota, "b")
    assert refused(quota, "a") == pytest.approx(60)
    assert refused(quota, "b") == pytest.approx(60)


def test_tokens_come_back_evenly_and_a_refusal_costs_none() -> None:
    clock = Clock()
    quota = Quota(2, 10, clock=clock)
    take(quota, "a")
    take(quota, "a")
    clock.now += 4
    assert refused(quota, "a") == pytest.approx(1)
    assert refused(quota, "a") == pytest.approx(1)
    clock.now += 1
    take(quota, "a")
    assert refused(quota, "a") == pytest.approx(5)


def test_a_long_pause_does_not_save_up_more_than_the_quota() -> None:
    clock = Clock()
    quota = Quota(2, 10, clock=clock)
    take(quota, "a")
    clock.now += 10_000
    take(quota, "a")
    take(quota, "a")
    assert refused(quota, "a") == pytest.approx(5)


def test_waiting_as_long_as_told_is_enough() -> None:
    clock = Clock()
    quota = Quota(7, 60, clock=clock)
    for _ in range(7):
        take(quota, "a")
    clock.now += refused(quota, "a") + 1e-6
    take(quota, "a")
    assert refused(quota, "a") == pytest.approx(60 / 7)


def test_many_clients_are_bounded_and_the_active_one_is_not_forgotten() -> None:
    clock = Clock()
    quota = Quota(1, 1e9, clock=clock)
    take(quota, "idle")
    take(quota, "active")
    for i in range(100_000):
        clock.now += 1e-6
        take(quota, f"client {i}")
        if i % 10 == 0:
            assert refused(quota, "active") == pytest.approx(1e9)
    take(quota, "idle")  # forgotten: a full bucket again
    assert refused(quota, "active") == pytest.approx(1e9)


def test_all_worker_processes_take_from_one_bucket() -> None:
    """Five forks of this process together get no more than the one client may."""
    quota = Quota(1000, 1e9)
    workers = []
    for _ in range(5):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            taken = 0
            try:
                for _ in range(1000):
                    with contextlib.suppress(QuotaExceeded):
                        take(quota, "a")
                        taken += 1
            finally:
                os.write(writing, str(taken).encode())
                os._exit(0)
        os.close(writing)
        workers.append((pid, reading))
    counts = []
    for pid, reading in workers:
        os.waitpid(pid, 0)
        with open(reading, "rb") as pipe:
            counts.append(int(pipe.read()))
    assert sum(counts) == 1000
    refused(quota, "a")
