"""Findings for people, for programs, and as annotations of GitHub's workflows."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from converter.checking.findings import Finding, Severity

FORMATS = ("text", "json", "github")
_LEVELS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "note": "notice"}


def format_findings(findings: Sequence[Finding], models: int, form: str) -> str:
    """Write what was found of so many models in one of FORMATS."""
    if form == "json":
        return json.dumps({"findings": [_as_object(finding) for finding in findings]}, indent=2, ensure_ascii=False)
    counts = Counter(finding.severity for finding in findings)
    said = ", ".join(f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in _LEVELS)
    total = f"{models} {'model' if models == 1 else 'models'} checked: {said}."
    if form == "github":
        return "\n".join([*map(_as_annotation, findings), total])
    lines = [f"{item.severity}: {item}" for item in findings]
    return "\n".join([*lines, total])


def _as_object(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code, "severity": finding.severity, "file": finding.file, "line": finding.line,
        "key": finding.key, "message": finding.message, "remedy": finding.remedy,
    }  # fmt: skip


def _as_annotation(finding: Finding) -> str:
    """Write a workflow command, as GitHub's toolkit escapes it (`@actions/core`, command.ts)."""
    file = os.path.relpath(finding.path) if finding.path.is_relative_to(Path.cwd()) else finding.file
    properties = {"file": file, "line": str(finding.line), "title": finding.code}
    written = ",".join(f"{name}={_escape_property(value)}" for name, value in properties.items())
    return f"::{_LEVELS[finding.severity]} {written}::{_escape(f'{finding.key}: {finding.text}')}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
