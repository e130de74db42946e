"""Who a key is, what it may do, and how the adapter follows the file."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import Forbidden, Unauthenticated
from adapter.http.gate import Gate
from adapter.http.predict import PredictEndpoint
from adapter.limits.access_policy import EVERYTHING, FREE, METRICS, READ, Need, policy
from adapter.limits.api_keys import ApiKeys, credential
from adapter.telemetry.access_log import AccessLog
from adapter.telemetry.audit import LOGGER, Audit
from converter.keys.store import add_key, revoke_key
from converter.schema.keys_file import ApiKey, hash_key, make_key
from tests.support.fakes.entries import make_entry
from tests.support.http.predictors import Served
from tests.support.living_objects import texts_in

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
M = Need("predict", "m")


def add(path: Path, name: str, **scopes: Any) -> str:
    key = make_key()
    add_key(path, ApiKey(name=name, sha256=hash_key(key), created=NOW, **scopes))
    return key


def shown(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"t"), (b"x-api-key", key.encode())]


def why(keys: ApiKeys, key: str, need: Need = READ) -> str:
    """ "ok", or why not, in one word."""
    try:
        keys.admit(shown(key), need)
    except (Unauthenticated, Forbidden) as error:
        return error.why
    return "ok"


@pytest.mark.parametrize(
    ("path", "need"),
    [
        (b"/health/live", FREE),
        (b"/health/ready", FREE),
        (b"/health", READ),
        (b"/health/live/", READ),
        (b"//health/live", READ),
        (b"/health/live%20", EVERYTHING),
        (b"/metrics", METRICS),
        (b"/metri%63s", EVERYTHING),
        (b"/metrics/", READ),
        (b"/v2/models/m/infer", Need("predict", "m")),
        (b"/v2/models/m/versions/1/infer", Need("predict", "m")),
        (b"/v2/models/m/versions/1/2/infer", READ),
        (b"/v2/models/m", READ),
        (b"/v2/health/live", READ),
        (b"/v2/models/%6d/infer", EVERYTHING),
        (b"/predict/m", M),
        (b"/predict_batched/m", M),
        (b"/predict/%6d", EVERYTHING),
        (b"/predict/m/", READ),
        (b"/predict/", READ),
        (b"predict/m", READ),
        (b"/v1/models/m:predict", M),
        (b"/models/m/invocations", M),
        (b"/invocations", Need("predict", "")),
        (b"/v1/models", READ),
        (b"/v1/models/m", READ),
        (b"/v1/models/m:explain", READ),
        (b"/v1/models/a/m:predict", READ),
        (b"/v1/models/m%3Apredict", EVERYTHING),
        (b"/models/a/m/invocations", READ),
        (b"/models/m/invocations/", READ),
        (b"/ping", READ),
        (b"/version", READ),
        (b"", READ),
        (b"*", READ),
    ],
)
def test_the_policy_is_by_the_path_as_it_is_written(path: bytes, need: Need) -> None:
    assert policy(path) == need


@given(st.binary(max_size=40))
def test_no_other_path_is_free(path: bytes) -> None:
    assert (policy(path) is FREE) == (path in (b"/health/live", b"/health/ready"))


@given(st.lists(st.tuples(st.sampled_from([b"x-api-key", b"authorization", b"host"]), st.binary(max_size=60))))
def test_whatever_is_shown_is_a_key_or_unauthenticated(named: list[tuple[bytes, bytes]]) -> None:
    try:
        key = credential(named)
    except Unauthenticated as error:
        assert error.why in ("missing", "scheme", "several")
    else:
        assert 0 < len(key) <= 60
        assert any(key in value for _, value in named)


@given(
    st.sampled_from(["/predict/", "/predict_batched/", "/", "//predict/", "/v2/models/"]),
    st.text("m%/?.\xe9", max_size=6),
    st.sampled_from(["", "/infer"]),
)
def test_what_the_short_cut_takes_is_what_the_policy_says(prefix: str, rest: str, end: str) -> None:
    """It asks for no policy, since the path has one form alone."""
    served = Served(entry=make_entry("m"))
    path = (prefix + rest + end).encode("latin-1")
    endpoint = PredictEndpoint(served.service, Gate(None, None, Audit(), 0), 1024, AccessLog(stages=False), None, False)
    if (found := endpoint.known(path)) is not None:
        assert policy(path) == Need("predict", found[1])
    else:
        assert path not in (b"/predict/m", b"/predict_batched/m", b"/v2/models/m/infer")


def test_each_scope_allows_its_own(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    all_models, some = add(path, "a", predict=True), add(path, "b", predict=("m", "n"))
    read, metrics = add(path, "c", read=True), add(path, "d", metrics=True)
    whole = add(path, "e", predict=True, read=True, metrics=True)
    keys = ApiKeys(path)
    needs = (M, Need("predict", "other"), READ, METRICS, FREE, EVERYTHING)
    assert {key: [why(keys, key, need) == "ok" for need in needs] for key in (all_models, some, read, metrics)} == {
        all_models: [True, True, False, False, True, False],
        some: [True, False, False, False, True, False],
        read: [False, False, True, False, True, False],
        metrics: [False, False, False, True, True, False],
    }
    assert why(keys, whole, EVERYTHING) == "ok"
    assert why(keys, make_key()) == "unknown"


def test_a_key_ends_at_its_expiry(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = add(path, "a", read=True, expires=NOW + timedelta(seconds=5))
    now = [NOW.timestamp()]
    keys = ApiKeys(path, clock=lambda: now[0])
    assert why(keys, key) == "ok"
    now[0] += 4.9
    assert why(keys, key) == "ok"
    now[0] += 0.1
    assert why(keys, key) == "expired"


def test_a_change_is_followed_and_a_broken_file_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    old = add(path, "old", read=True)
    keys = ApiKeys(path)
    new = add(path, "new", read=True)
    assert why(keys, new) == "unknown"
    keys.refresh()
    assert (why(keys, old), why(keys, new)) == ("ok", "ok")
    good = path.read_bytes()
    for broken in (b"", b"{", b"[]", b'{"version": 2}', b'{"keys": [{}]}', b"\xff", good[:-9], None):
        with caplog.at_level(logging.ERROR):
            path.unlink() if broken is None else path.write_bytes(broken)
            keys.refresh()
            keys.refresh()
        assert (why(keys, old), why(keys, new)) == ("ok", "ok")
        assert caplog.text.count("the API keys stay as they were") == 1
        caplog.clear()
    path.write_bytes(good)
    path.chmod(0o600)
    revoke_key(path, "old")
    keys.refresh()
    assert (why(keys, old), why(keys, new)) == ("unknown", "ok")


def test_what_others_may_write_to_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = add(path, "a", read=True)
    path.chmod(0o620)
    assert why(ApiKeys(path), key) == "unknown"


def test_the_internal_key_reads_and_is_there_without_a_file(tmp_path: Path) -> None:
    internal = make_key()
    keys = ApiKeys(tmp_path / "nothing", internal)
    assert [why(keys, internal, need) for need in (READ, METRICS, M)] == ["ok", "scope", "scope"]


def test_no_key_stands_in_the_file_or_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = add(path, "a", read=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key not in path.read_text(encoding="utf-8")
    (entry,) = json.loads(path.read_text(encoding="utf-8"))["keys"]
    assert set(entry) == {"name", "sha256", "predict", "read", "metrics", "created"}
    keys = ApiKeys(path)
    assert why(keys, key) == "ok"
    kept = texts_in(keys)
    assert hashlib.sha256(key.encode()).digest() in kept
    assert not {key, key.encode()} & kept


def test_a_flood_of_refusals_is_some_lines_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    audit = Audit(lambda: now[0])

    def refuse(count: int) -> list[dict[str, Any]]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, LOGGER):
            for _ in range(count):
                audit.refused(401, "missing", "read", "-", "192.0.2.1", "", "id")
            audit.tell()
        return [record.msg for record in caplog.records if isinstance(record.msg, dict)]

    lines = refuse(1000)
    assert len(lines) == 20
    assert lines[0] == {
        "status": 401, "why": "missing", "scope": "read", "model": "-", "client": "192.0.2.1", "key": "-",
        "request_id": "id",
    }  # fmt: skip
    now[0] += 1
    assert [line.get("unsaid_before") for line in refuse(1)] == [980]
    now[0] += 60
    assert refuse(0) == []
