"""The quota of a client, with a clock that the test turns."""

from __future__ import annotations

import contextlib
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

from adapter.errors import QuotaExceeded
from adapter.limits.api_keys import Caller
from adapter.limits.rate_limit import Account, Quota
from converter.schema.keys_file import ApiKey, hash_key
from tests.support.builders import make_quota


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
    quota = make_quota(3, 60, clock=Clock())
    for _ in range(3):
        take(quota, "a")
    assert refused(quota, "a") == pytest.approx(20)


def test_each_client_has_its_own() -> None:
    quota = make_quota(1, 60, clock=Clock())
    take(quota, "a")
    take(quota, "b")
    assert refused(quota, "a") == pytest.approx(60)
    assert refused(quota, "b") == pytest.approx(60)


def test_tokens_come_back_evenly_and_a_refusal_costs_none() -> None:
    clock = Clock()
    quota = make_quota(2, 10, clock=clock)
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
    quota = make_quota(2, 10, clock=clock)
    take(quota, "a")
    clock.now += 10_000
    take(quota, "a")
    take(quota, "a")
    assert refused(quota, "a") == pytest.approx(5)


def test_waiting_as_long_as_told_is_enough() -> None:
    clock = Clock()
    quota = make_quota(7, 60, clock=clock)
    for _ in range(7):
        take(quota, "a")
    clock.now += refused(quota, "a") + 1e-6
    take(quota, "a")
    assert refused(quota, "a") == pytest.approx(60 / 7)


def test_many_clients_are_bounded_and_the_active_one_is_not_forgotten() -> None:
    clock = Clock()
    quota = make_quota(1, 1e9, clock=clock)
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
    quota = make_quota(1000, 1e9)
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


def caller(**quotas: int) -> Caller:
    now = datetime(2030, 1, 1, tzinfo=timezone.utc)
    return Caller(ApiKey(name="k", sha256=hash_key("k"), predict=True, created=now, **quotas))


def account(quota: Quota, address: str, key: Caller | None = None) -> Account:
    found = quota.account(address, key)
    assert found is not None
    return found


def test_a_key_has_one_bucket_wherever_it_comes_from_and_its_own_size() -> None:
    quota = make_quota(1, 60, clock=Clock())
    key = caller(requests=3)
    for address in ("a", "b", "c"):
        account(quota, address, key).take_request()
    with pytest.raises(QuotaExceeded):
        account(quota, "d", key).take_request()
    # The addresses have theirs still.
    take(quota, "a")


def test_without_max_requests_only_a_keys_own_quotas_hold() -> None:
    quota = make_quota(None, 60, clock=Clock())
    assert quota.account("a") is None
    assert quota.account("a", caller()) is None
    account(quota, "a", caller(requests=1)).take_request()
    with pytest.raises(QuotaExceeded):
        account(quota, "a", caller(requests=1)).take_request()


def test_rows_are_a_quota_of_their_own() -> None:
    clock = Clock()
    quota = make_quota(None, 60, clock=clock)
    key = caller(rows=10)
    account(quota, "a", key).take_rows(7)
    with pytest.raises(QuotaExceeded) as caught:
        account(quota, "a", key).take_rows(4)
    assert caught.value.retry_after == pytest.approx(6)
    assert "rows" in caught.value.detail
    account(quota, "a", key).take_rows(3)
    # Nothing is owed, so it may come, but not with rows.
    account(quota, "a", key).take_request()
    clock.now += 6
    account(quota, "a", key).take_rows(1)


def test_more_rows_than_the_quota_pass_when_all_of_it_is_there_and_are_owed() -> None:
    clock = Clock()
    quota = make_quota(None, 60, clock=clock)
    key = caller(rows=10)
    account(quota, "a", key).take_rows(25)
    with pytest.raises(QuotaExceeded) as caught:
        account(quota, "a", key).take_request()
    assert caught.value.retry_after == pytest.approx(90)
    clock.now += 90
    account(quota, "a", key).take_request()
    clock.now += 30
    with pytest.raises(QuotaExceeded):
        account(quota, "a", key).take_rows(25)
    clock.now += 30
    account(quota, "a", key).take_rows(25)


def test_the_headers_say_what_is_left() -> None:
    clock = Clock()
    quota = make_quota(250, 60, clock=clock)
    first = account(quota, "a")
    first.take_request()
    assert first.headers() == [(b"ratelimit-policy", b'"default";q=250;w=60'), (b"ratelimit", b'"default";r=249;t=1')]
    both = account(quota, "a", caller(requests=2, rows=100))
    both.take_request()
    both.take_rows(30)
    assert both.headers() == [
        (b"ratelimit-policy", b'"default";q=2;w=60, "rows";q=100;w=60'),
        (b"ratelimit", b'"default";r=1;t=30, "rows";r=70;t=18'),
    ]
    spent = account(quota, "a", caller(requests=2))
    spent.take_request()
    with pytest.raises(QuotaExceeded):
        spent.take_request()
    assert spent.headers()[1] == (b"ratelimit", b'"default";r=0;t=60')


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    quota = make_quota(1, 60, clock=Clock())
    take(quota, "2001:db8::1")
    assert refused(quota, "2001:db8::ffff:1") == 60
    take(quota, "2001:db8:0:1::1")


def test_who_is_over_the_quota_is_not_forgotten_for_those_who_are_not() -> None:
    """Though it asks no more, while as many others come as the table could hold four times over."""
    clock = Clock()
    quota = make_quota(2, 1e9, clock=clock)
    take(quota, "abuser")
    take(quota, "abuser")
    for i in range(65_000):
        clock.now += 1e-6
        take(quota, f"client {i}")
    assert refused(quota, "abuser") == pytest.approx(0.5e9)


def test_the_table_is_as_large_however_many_come() -> None:
    """Many times what it holds, and one that is over its quota still is, since it asked lately."""
    quota = make_quota(1, 1e9)
    take(quota, "abuser")
    before = rss()
    for i in range(200_000):
        account(quota, f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}").take_request()
        if i % 1000 == 0:
            refused(quota, "abuser")
    assert rss() - before < 4 << 20


def rss() -> int:
    """The resident memory of this process, in bytes."""
    (line,) = re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(line) * 1024
