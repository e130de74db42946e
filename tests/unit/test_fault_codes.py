"""docs/faults.md and the tests are equal: every row has tests named by its ID, in the files that it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "faults.md"
_COLUMNS = 5
_NAME = re.compile(r"test_((?:[RA]\d+_)+)")


def rows() -> dict[str, list[str]]:
    """The cells of each row by its ID."""
    found: dict[str, list[str]] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[RA]\d+", cells[0]):
            assert cells[0] not in found, f"{cells[0]} has two rows"
            found[cells[0]] = cells
    return found


def ids(name: str) -> list[str]:
    """The IDs that a function is named by: `test_R5_R19_death_…` is a test of two rows."""
    match = _NAME.match(name)
    return match[1].strip("_").split("_") if match else []


def files_by_id() -> dict[str, set[str]]:
    """The files, relative to the repository, that hold tests of each ID."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in _functions(path):
            for code in ids(name):
                found.setdefault(code, set()).add(path.relative_to(ROOT).as_posix())
    return found


def _functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


ROWS = rows()
TESTED = files_by_id()


def test_the_page_has_rows_of_both_kinds() -> None:
    assert {"R1", "R35", "A1", "A35"} <= set(ROWS)


def test_names_are_read_as_they_are_meant() -> None:
    assert ids("test_R5_R19_death_in_a_reload") == ["R5", "R19"]
    assert ids("test_A1_body") == ["A1"]
    assert ids("test_Rows") == ids("test_R12") == ids("check_A1_x") == []


@pytest.mark.parametrize("code", ROWS)
def test_row_is_complete(code: str) -> None:
    cells = ROWS[code]
    assert len(cells) == _COLUMNS and all(cells), cells


@pytest.mark.parametrize("code", ROWS)
def test_row_names_files_that_hold_its_tests(code: str) -> None:
    named = set(re.findall(r"`(tests/[^`]+)`", ROWS[code][-1]))
    assert named, f"{code} names no file of tests"
    assert named <= TESTED.get(code, set()), f"{code}: its tests are in {sorted(TESTED.get(code, set()))}"


def test_every_test_that_is_named_by_an_id_has_a_row() -> None:
    assert sorted(set(TESTED) - set(ROWS)) == []
