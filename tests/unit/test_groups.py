"""How tests are handed out to several pytest workers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ONE_SERVER, group_of
from tests.support.servers.server import ROOT
from tests.unit.conftest import SLOW_FILES, SLOW_TESTS


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/unit/schwift/test_restarting.py::test_one[a::b]", "tests/unit/schwift/test_restarting.py"),
        ("tests/observability/test_traces.py::test_one", "tests/observability/test_traces.py"),
        ("tests/e2e/test_readme.py::test_one", "one server"),
        ("tests/faults/test_models.py::test_one[a]", "tests/faults/test_models.py::test_one[a]"),
    ],
)
def test_a_test_stays_with_those_that_share_its_server_and_no_others(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group


def test_every_file_that_asks_the_shared_server_is_listed() -> None:
    """One that is missing starts the server once more, in each worker that gets a test of it."""
    asking = {
        str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests" / "e2e").glob("test_*.py")) if asks_server(path)
    }
    assert asking == ONE_SERVER


def asks_server(path: Path) -> bool:
    """Whether a test takes the fixture `server`."""
    functions = [
        node for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]  # fmt: skip
    return any(argument.arg == "server" for function in functions for argument in function.args.args)


def test_what_the_quick_run_leaves_out_is_there() -> None:
    names = {
        node.name
        for file in (ROOT / "tests" / "unit").rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name for name in SLOW_TESTS if name.startswith("test_")} <= names
    assert all((ROOT / file).is_file() for file in SLOW_FILES)
