"""What the suites of others came to: each part has its row, and none is passed over."""

from __future__ import annotations

from tests.suites.outcomes import Outcome, read_lines, report


def test_each_part_has_a_row_and_one_that_was_not_reached_has_failed() -> None:
    output = "PASS first\nnoise: of a library\nFAIL second: got 1: wanted 2\nPASS unlisted\nTraceback\nKeyError: 'x'\n"
    assert read_lines("s", ("first", "second", "third"), output, 1) == [
        Outcome("s", "first", "passed"),
        Outcome("s", "second", "FAILED", "got 1: wanted 2"),
        Outcome("s", "third", "FAILED", "the program ended with 1: KeyError: 'x'"),
        Outcome("s", "unlisted", "passed"),
    ]


def test_the_table_counts_and_keeps_to_one_line_a_part() -> None:
    rows = [
        Outcome("s", "first", "passed"),
        Outcome("s", "second", "FAILED", "two\n lines" + "x" * 500),
        Outcome("s", "third", "left out", "it is not served"),
        Outcome("other", "all", "not reachable", "no network"),
    ]
    lines = report(rows, 3.4).splitlines()
    assert lines[2].split()[:4] == ["s", "second", "FAILED", "two"] and len(lines[2]) < 200
    assert lines[-1] == "1 passed, 1 failed, 1 left out, 1 not reachable; 3 s"
    assert len(lines) == len(rows) + 3
