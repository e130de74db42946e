"""What is used of uvicorn is there, and its absence is said in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import uvicorn

from adapter.sockets import uvicorn_parts
from adapter.sockets.uvicorn_parts import HttpToolsProtocol, check_parts, missing_names

ROOT = Path(__file__).resolve().parents[4]


class Sample:
    def __init__(self) -> None:
        self.made = 0

    def method(self) -> None: ...


def test_a_name_is_a_method_or_one_that_instances_get() -> None:
    assert missing_names(Sample, ["made", "method", "renamed"]) == ["renamed"]


def test_what_is_missing_is_named_with_the_version_and_the_remedy() -> None:
    with pytest.raises(ImportError, match="constraints") as caught:
        check_parts({HttpToolsProtocol: "cycle renamed", Sample: "gone method"})
    assert f"uvicorn {uvicorn.__version__} has no HttpToolsProtocol.renamed, Sample.gone:" in str(caught.value)


def test_nothing_else_imports_what_uvicorn_does_not_document() -> None:
    files = [file for file in (ROOT / "adapter").rglob("*.py") if file != Path(uvicorn_parts.__file__).resolve()]
    assert [file.name for file in files if re.search(r"^\s*(from|import) uvicorn\.", file.read_text(), re.M)] == []


def test_the_oldest_version_that_may_be_installed_is_the_one_that_all_is_tested_with() -> None:
    (floor,) = re.findall(r'"uvicorn>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    (tested,) = re.findall(r"^uvicorn==([\d.]+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert tested == f"{floor}.0"
