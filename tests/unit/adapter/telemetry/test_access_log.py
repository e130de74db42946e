"""The line in the log for each request."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from adapter.telemetry.access_log import LOGGER, AccessLog, Line
from tests.support.fakes.backend import FakeBackend
from tests.support.http.web_app import get, post

ROW = [[1, 2, 3, 4]]
TIMES = ("ms", "queue_ms", "model_ms")
STAGES = ("parse_ms", "write_ms")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Line]]:
    """Level and fields of each."""
    records = [record for record in caplog.records if record.name == LOGGER]
    return [(record.levelname, record.msg) for record in records if isinstance(record.msg, Line)]


def logged(caplog: pytest.LogCaptureFixture, *args: Any, **settings: Any) -> tuple[str, Line]:
    """The level and the line that one POST wrote."""
    with caplog.at_level(logging.INFO, LOGGER):
        post(*args, headers={"X-Request-Id": "id-1"}, **settings)
    (line,) = lines(caplog)
    return line


def test_a_line_says_who_what_how_many_which_way_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    level, line = logged(caplog, "/predict/m", ROW * 3)
    times = [line.pop(name) for name in TIMES]
    assert (level, line) == ("INFO", {
        "request_id": "id-1", "endpoint": "predict", "model": "m", "rows": 3, "regime": "idle", "status": 200,
        "code": "ok", "client": "192.0.2.1",
    })  # fmt: skip
    whole, queue, model = times
    assert (0 < float(model) < float(whole), queue) == (True, 0)


def test_with_debug_mode_it_has_the_time_of_each_stage(caplog: pytest.LogCaptureFixture) -> None:
    _, line = logged(caplog, "/predict/m", ROW, debug_mode=True)
    parts = [float(line[name]) for name in ("queue_ms", "model_ms", *STAGES)]
    assert min(parts[1:]) > 0
    assert sum(parts) < float(line["ms"])


def test_a_refused_request_is_a_warning_without_a_name_of_the_clients_choosing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    level, line = logged(caplog, "/predict_batched/other", ROW)
    assert float(line.pop("ms")) > 0
    assert (level, line) == ("WARNING", {
        "request_id": "id-1", "endpoint": "predict_batched", "model": "-", "rows": 0, "regime": "-", "status": 404,
        "code": "unknown_model", "client": "192.0.2.1", "queue_ms": 0, "model_ms": 0,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("path", "endpoint", "level"),
    [
        ("/health", "/health", "INFO"),
        ("/nothing/here%0aforged", "-", "WARNING"),
        ("/predict/m", "/predict/{model_name}", "WARNING"),
    ],
)
def test_other_requests_are_known_by_their_pattern(
    caplog: pytest.LogCaptureFixture, path: str, endpoint: str, level: str
) -> None:
    with caplog.at_level(logging.INFO, LOGGER):
        response = get(path)
    ((got, line),) = lines(caplog)
    assert float(line.pop("ms")) > 0
    assert line.pop("endpoint") == endpoint
    assert (got, line) == (level, {
        "request_id": response.headers["x-request-id"], "status": response.status_code, "client": "192.0.2.1",
    })  # fmt: skip


def test_errors_alone_where_only_they_are_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, LOGGER):
        post("/predict/m", ROW)
        post("/predict/m", [])
    assert [line["status"] for _, line in lines(caplog)] == [422]


def test_what_is_not_wanted_costs_no_line(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise AssertionError("a line that nobody reads was made")

    monkeypatch.setattr(AccessLog, "predict", fail)
    monkeypatch.setattr(AccessLog, "other", fail)
    with caplog.at_level(logging.CRITICAL + 1, LOGGER):
        assert post("/predict/m", ROW, FakeBackend()).status_code == 200
        assert get("/nothing").status_code == 404


def test_as_text_a_line_is_names_and_values() -> None:
    assert str(Line(request_id="a", rows=2, ms=1.5)) == "request_id=a rows=2 ms=1.5"
