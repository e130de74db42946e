"""Findings as people, programs and GitHub's workflows read them; and the documented codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from converter.checking.finding_formats import format_findings
from converter.checking.findings import CODES, Finding
from tests.support import documents

PLACE = "models/a/model_config.yaml"
FOUND = Finding(
    "columns-differ", "error", PLACE, Path(f"/elsewhere/{PLACE}"), 7, "model.input", "100 %\nwrong", "mend it"
)
NOTED = Finding("sample-missing", "note", PLACE, Path(f"/elsewhere/{PLACE}"), 1, "model", "there is none", "")


def test_a_line_has_place_key_remedy_and_code() -> None:
    assert str(FOUND) == f"{PLACE}:7: model.input: 100 %\nwrong: mend it [columns-differ]"
    text = format_findings([NOTED], 1, "text")
    assert text.splitlines() == [
        f"note: {PLACE}:1: model: there is none [sample-missing]",
        "1 model checked: 0 errors, 0 warnings, 1 note.",
    ]


def test_json_has_every_part() -> None:
    found = {
        "code": "columns-differ", "severity": "error", "file": PLACE, "line": 7, "key": "model.input",
        "message": "100 %\nwrong", "remedy": "mend it",
    }  # fmt: skip
    assert json.loads(format_findings([FOUND], 2, "json")) == {"findings": [found]}


def test_annotations_are_escaped_and_named_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Finding("memory", "warning", PLACE, tmp_path / "some,where" / PLACE, 3, "model.instances", "much", "")
    lines = format_findings([FOUND, here, NOTED], 2, "github").splitlines()
    assert lines == [
        f"::error file={PLACE},line=7,title=columns-differ::model.input: 100 %25%0Awrong: mend it",
        f"::warning file=some%2Cwhere/{PLACE},line=3,title=memory::model.instances: much",
        f"::notice file={PLACE},line=1,title=sample-missing::model: there is none",
        "2 models checked: 1 error, 1 warning, 1 note.",
    ]


def test_every_code_is_documented_and_none_else() -> None:
    table = documents.rows(documents.section(documents.page("docs/checks.md"), "## Codes"))
    assert {row[0].strip("`"): row[1] for row in table} == CODES
