"""The guard in front of the framework, with real keys: what it passes on, and what it answers itself."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from adapter.http.access_guard import BRIEF, AccessGuard, raw_path
from adapter.http.request_id import KEY_NAME
from adapter.limits.api_keys import ApiKeys
from adapter.telemetry.access_log import AccessLog
from adapter.telemetry.audit import LOGGER, Audit
from converter.keys.store import add_key
from converter.schema.keys_file import ApiKey, hash_key, make_key

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


class Guarded:
    """A guard with the keys `reader`, who may read, and `scraper`, who may only see metrics."""

    def __init__(self, folder: Path) -> None:
        path = folder / "keys.yaml"
        self.keys = {"reader": make_key(), "scraper": make_key()}
        for name, key in self.keys.items():
            scopes = {"read": name == "reader", "metrics": name == "scraper"}
            add_key(path, ApiKey(name=name, sha256=hash_key(key), created=NOW, **scopes))
        self.passed: list[Scope] = []
        keys = ApiKeys(path, clock=NOW.timestamp)
        self._guard = AccessGuard(self._app, keys, Audit(), AccessLog(stages=False), trusted_hops=0)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.passed.append(scope)

    async def ask(self, path: str, key: str | None = None, method: str = "GET", **more: Any) -> list[Message]:
        """What it answers itself."""
        headers = [(b"x-request-id", b"id-1")]
        if key is not None:
            headers.append((b"authorization", f"Bearer {self.keys.get(key, key)}".encode()))
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "client": ("10.1.2.3", 4), **more}
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("no byte of a body is read")

        async def send(message: Message) -> None:
            sent.append(message)

        await self._guard(scope, receive, send)
        return sent


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


async def test_who_may_read_is_passed_on_with_its_name(guarded: Guarded) -> None:
    assert await guarded.ask("/health", "reader") == []
    (scope,) = guarded.passed
    assert (scope[KEY_NAME], scope[BRIEF]) == ("reader", False)


@pytest.mark.parametrize(
    ("key", "name", "brief"), [(None, "-", True), ("reader", "reader", False), ("scraper", "scraper", True)]
)
async def test_what_is_free_is_brief_but_for_those_who_may_read(
    guarded: Guarded, key: str | None, name: str, brief: bool
) -> None:
    assert await guarded.ask("/health/ready", key) == []
    (scope,) = guarded.passed
    assert (scope[KEY_NAME], scope[BRIEF]) == (name, brief)


async def test_key_that_is_none_does_not_keep_anybody_from_what_is_free(guarded: Guarded) -> None:
    assert await guarded.ask("/health/live", "sk-nobody") == []
    assert guarded.passed[0][KEY_NAME] == "-"


@pytest.mark.parametrize(
    ("key", "status", "code", "named"),
    [
        (None, 401, "unauthenticated", "-"),
        ("sk-nobody", 401, "unauthenticated", "-"),
        ("scraper", 403, "forbidden", "scraper"),
    ],
)
async def test_everybody_else_is_refused_and_that_is_written_down(
    guarded: Guarded, caplog: pytest.LogCaptureFixture, key: str | None, status: int, code: str, named: str
) -> None:
    with caplog.at_level(logging.INFO):
        start, body = await guarded.ask("/health", key)
    assert (start["status"], guarded.passed) == (status, [])
    assert (b"www-authenticate" in dict(start["headers"])) == (status == 401)
    assert json.loads(body["body"])["code"] == code
    assert json.loads(body["body"])["request_id"] == "id-1"
    (line,) = (record.msg for record in caplog.records if record.name == LOGGER)
    assert isinstance(line, dict)
    assert (line["status"], line["scope"], line["client"], line["key"]) == (status, "read", "10.1.2.3", named)


async def test_answer_to_head_has_no_body_and_lines_that_nobody_wants_are_not_written(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        start, body = await guarded.ask("/health", method="HEAD")
    assert (start["status"], body.get("body", b"")) == (401, b"")
    assert caplog.records == []


async def test_events_of_the_server_pass_as_they_are(guarded: Guarded) -> None:
    assert await guarded.ask("", type="lifespan") == []
    (scope,) = guarded.passed
    assert scope["type"] == "lifespan" and KEY_NAME not in scope


def test_path_is_the_written_one_if_it_is_known() -> None:
    assert raw_path({"path": "/a b"}) == b"/a%20b"
    assert raw_path({"path": "/a", "raw_path": b"/%61"}) == b"/%61"
