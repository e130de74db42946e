"""What the stress tool and the open-loop client make of a record."""

from __future__ import annotations

import pytest

from schwift.load.load_record import TIMEOUT, UNSENT, LoadRecord
from tests.bench.rig.openloop import to_result
from tests.load_test import summary

REFUSED = b'{"code": "overloaded"}'


def made_record() -> LoadRecord:
    """Two seconds: ten good answers within, and two after it; refusals by two statuses with one code, and without."""
    record = LoadRecord()
    record.open_window(100.0, 102.0)
    for number in range(10):
        record.note_answer(0, 200 + number % 2, b"{}", 100.0, 100.1 + number / 10)
    for status, body in ((429, REFUSED), (503, REFUSED), (404, b"<p>"), (500, b"<p>")):
        record.note_answer(0, status, body, 101.0, 101.5)
    record.note(TIMEOUT, 100.0, 101.0)
    record.note(UNSENT, 101.0, 102.0)
    for _ in range(2):
        record.note_answer(0, 200, b"{}", 101.9, 102.5)
    record.close_window(102.0)
    return record


def test_the_open_loop_client_joins_statuses_of_one_code() -> None:
    result = to_result(made_record())
    assert result.counts == {"ok": 12, "overloaded": 2, "404": 1, "500": 1}
    assert (result.goodput, result.offered) == (5.0, 9.0)
    assert (result.lost, result.unsent, result.unanswered) == (0, 1, 1)
    assert result.worst["ok"] == pytest.approx(1000)
    assert result.p50["overloaded"] == pytest.approx(500, rel=0.005)


def test_the_stress_tool_counts_what_was_answered_in_its_window() -> None:
    text = summary(made_record(), 3)
    assert "throughput: 5 requests/s, 15 rows/s" in text
    assert "201 x 5" in text and "200 x 7" in text
