"""Quotas, gamed: rotated addresses, and more of them than anybody could keep."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attacks.keyed import add_key
from tests.support.attacks.many_clients import come, memory
from tests.support.attacks.raw_request import head, post, send
from tests.support.http.http_bytes import Answer
from tests.support.servers.asking import get
from tests.support.servers.server import ROOT, Server, wait_for
from tests.support.servers.serving import serving

ROW = [[1.0, 2.0, 3.0]]
QUOTA = 5
# Nothing comes back within a test.
PERIOD = "100000"
CLIENTS = 20_000
# No table remembers each of them.
GROWTH_BYTES = 24 << 20


def model(folder: Path) -> Path:
    shutil.copytree(
        ROOT / "models" / "multiply", folder / "models" / "multiply", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder / "models"


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """No proxy in front is trusted; two workers."""
    folder = tmp_path_factory.mktemp("direct")
    quota = {"MAX_REQUESTS": str(QUOTA), "REQUESTS_PERIOD_SECONDS": PERIOD, "SCHWIFT_WORKERS": "2"}
    with serving(model(folder), folder, **quota) as server:
        yield server


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """One hop is trusted, and clients need a key; the file of keys."""
    folder = tmp_path_factory.mktemp("proxied")
    file = folder / "keys.json"
    add_key(file, "first", "--predict", "all")
    quota = {"MAX_REQUESTS": str(QUOTA), "REQUESTS_PERIOD_SECONDS": PERIOD, "SCHWIFT_TRUSTED_HOPS": "1"}
    with serving(model(folder), folder, SCHWIFT_API_KEYS_FILE=str(file), **quota) as server:
        yield server, file


def predict(server: Server, *headers: tuple[str, str]) -> Answer:
    return post(server.url, "/predict/multiply", ROW, *headers)


def test_A19_rotated_addresses_are_one_bucket_and_of_all_workers(direct: Server) -> None:
    """X-Forwarded-For is not believed unless the hop is trusted; on the way past the framework and through it."""
    replies = []
    for i in range(3 * QUOTA):
        forged = [("X-Forwarded-For", f"10.0.0.{i}"), ("Forwarded", f"for=10.0.0.{i}"), ("X-Real-IP", f"10.0.0.{i}")]
        replies.append(post(direct.url, f"/predict/multiply{'?x=1' if i % 2 else ''}", ROW, *forged))
    assert [reply.status for reply in replies] == [200] * QUOTA + [429] * (2 * QUOTA)
    assert [reply.headers["ratelimit"].split(";")[1] for reply in replies[:QUOTA]] == [
        f"r={left}" for left in reversed(range(QUOTA))
    ]
    last = replies[-1]
    assert last.json["code"] == "quota_exceeded"
    assert int(last.headers["retry-after"]) > 1
    assert last.headers["ratelimit-policy"] == f'"default";q={QUOTA};w={PERIOD}'
    assert re.fullmatch(r'"default";r=0;t=\d+', last.headers["ratelimit"])
    assert re.search(r"schwift\.audit: status=429 why=quota scope=predict model=multiply client=127", direct.output)


def test_A19_other_endpoints_have_no_quota(direct: Server) -> None:
    """Health and metrics answer who has used it all."""
    assert predict(direct).status == 429
    assert {get(direct, path)[0] for path in ("/health", "/metrics", "/available_models")} == {200}


def test_A19_a_key_is_one_bucket_whatever_its_address(proxied: tuple[Server, Path]) -> None:
    """And a refusal without a key takes nothing from anybody."""
    server, file = proxied
    key, other = (add_key(file, name, "--predict", "all") for name in ("a", "b"))
    wait_until_known(server, other)
    for _ in range(2 * QUOTA):
        assert predict(server, ("X-Forwarded-For", "10.1.0.1")).status == 401
    statuses = [
        predict(server, ("X-API-Key", key), ("X-Forwarded-For", f"10.1.0.{i}")).status for i in range(2 * QUOTA)
    ]
    assert statuses == [200] * QUOTA + [429] * QUOTA
    assert predict(server, ("X-API-Key", other), ("X-Forwarded-For", "10.1.0.1")).status == 200


def test_A19_a_key_may_have_quotas_of_its_own(proxied: tuple[Server, Path]) -> None:
    """One quota is of requests, in place of MAX_REQUESTS, the other of rows."""
    server, file = proxied
    key = add_key(file, "rows", "--predict", "all", "--requests", "100", "--rows", "10")
    wait_until_known(server, key)
    replies = [post(server.url, "/predict/multiply", ROW * 4, ("X-API-Key", key)) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert [re.findall(r"r=(\d+)", reply.headers["ratelimit"])[1] for reply in replies] == ["6", "2", "2", "2"]
    assert predict(server, ("X-API-Key", key)).status == 200


def wait_until_known(server: Server, key: str) -> None:
    """With a request that takes nothing of its quota."""
    request = head("GET", "/health", ("X-API-Key", key))
    wait_for(lambda: send(server.url, request).status == 403)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One hop is trusted, without keys; two workers."""
    folder = tmp_path_factory.mktemp("behind")
    quota = {"MAX_REQUESTS": str(QUOTA), "REQUESTS_PERIOD_SECONDS": PERIOD, "SCHWIFT_TRUSTED_HOPS": "1"}
    with serving(model(folder), folder, SCHWIFT_WORKERS="2", **quota) as server:
        yield server


def test_A19_behind_a_trusted_hop_the_address_that_it_wrote_counts(behind: Server) -> None:
    """What the client wrote further left does not, and a network of IPv6 is one client."""
    forged = [predict(behind, ("X-Forwarded-For", f"10.2.0.{i}, 203.0.113.1")).status for i in range(2 * QUOTA)]
    assert forged == [200] * QUOTA + [429] * QUOTA
    split = [
        predict(behind, ("X-Forwarded-For", f"10.2.0.{i}"), ("X-Forwarded-For", "203.0.113.1")).status for i in range(3)
    ]
    assert split == [429] * 3
    assert predict(behind, ("X-Forwarded-For", "203.0.113.2")).status == 200
    network = [predict(behind, ("X-Forwarded-For", f"2001:db8::{i:x}")).status for i in range(2 * QUOTA)]
    assert network == [200] * QUOTA + [429] * QUOTA


def test_A19_ten_thousands_of_clients_take_no_memory(behind: Server) -> None:
    """Each with an address of its own, through HTTP; who is over the quota meanwhile stays so."""
    abuser = ("X-Forwarded-For", "203.0.113.9")
    statuses = [predict(behind, abuser).status for _ in range(2 * QUOTA)]
    assert statuses == [200] * QUOTA + [429] * QUOTA
    come(behind, 0, 2000)
    before = memory(behind)
    answers = come(behind, 2000, CLIENTS)
    assert answers == Counter({422: CLIENTS - 2000})
    assert predict(behind, abuser).status == 429
    assert memory(behind) - before < GROWTH_BYTES
