"""Lines about who was refused: a bounded number of them, and how many were left out."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from adapter.telemetry.audit import LOGGER, Audit


def refuse(audit: Audit, times: int, key: str = "") -> None:
    for number in range(times):
        audit.refused(401, "unknown", "read", "-", "10.1.2.3", key, f"id-{number}")


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """What was written since the last look."""
    found = [record.msg for record in caplog.records if record.name == LOGGER]
    caplog.clear()
    return found


def test_a_flood_is_counted_and_told_with_the_next_line_or_when_it_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    audit = Audit(clock=lambda: now[0])
    caplog.set_level(logging.WARNING, LOGGER)
    refuse(audit, 1, key="reader")
    assert lines(caplog) == [
        {"status": 401, "why": "unknown", "scope": "read", "model": "-", "client": "10.1.2.3", "key": "reader",
         "request_id": "id-0"},
    ]  # fmt: skip
    refuse(audit, 10_000)
    written = lines(caplog)
    assert 0 < len(written) < 1000 and not any("unsaid_before" in line for line in written)
    audit.tell()
    assert lines(caplog) == [], "it is not quiet yet"
    left_out = 10_000 - len(written)
    now[0] += 10
    refuse(audit, 1)
    (line,) = lines(caplog)
    assert (line["unsaid_before"], line["key"]) == (left_out, "-")
    refuse(audit, 10_000)
    left_out = 10_000 - len(lines(caplog))
    now[0] += 10
    audit.tell()
    assert lines(caplog) == [{"unsaid_before": left_out}]
    audit.tell()
    assert lines(caplog) == [], "there is nothing left to tell"
