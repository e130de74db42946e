"""Lines about refused requests, which a flood of these does not multiply."""

from __future__ import annotations

import json
import logging

import pytest

from adapter import errors
from adapter.sockets.refusals import RefusalLog, refuse


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_A32_a_handful_of_lines_a_second_and_then_their_number(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = RefusalLog(clock, 5)
    with caplog.at_level(logging.WARNING):
        for i in range(1000):
            log.write(400, "malformed_request", "192.0.2.1", f"id{i}", "why")
        assert [record.getMessage() for record in caplog.records] == [
            f"request id{i} of 192.0.2.1 refused: 400 malformed_request: why" for i in range(5)
        ]
        caplog.clear()
        assert log.flush()
        clock.now += 1
        assert not log.flush()
        log.write(400, "malformed_request", "192.0.2.1", "next", "why")
    assert [record.getMessage() for record in caplog.records] == [
        "995 more requests were refused, whose lines are left out",
        "request next of 192.0.2.1 refused: 400 malformed_request: why",
    ]


def test_A32_the_answer_has_our_body_and_one_connection_header() -> None:
    defaults = [(b"date", b"today"), (b"connection", b"close")]
    answer = refuse(errors.HeadTooLarge("Too large."), "192.0.2.1", defaults, RefusalLog())
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    said = json.loads(body)
    assert lines[0] == "HTTP/1.1 431 Request Header Fields Too Large"
    assert sorted(lines[1:]) == [
        "connection: close", f"content-length: {len(body)}", "content-type: application/json", "date: today",
        f"x-request-id: {said['request_id']}",
    ]  # fmt: skip
    assert said == {"detail": "Too large.", "code": "head_too_large", "request_id": said["request_id"]}
