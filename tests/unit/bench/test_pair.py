"""The interval that `make bench-pair` goes by."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import click
import pytest

from tests.bench.pair import median_interval
from tests.bench.rig import another_version


@pytest.mark.parametrize(
    ("count", "low", "high", "level"),
    [(15, 4, 12, 0.96484), (20, 6, 15, 0.95861), (6, 1, 6, 0.96875), (5, 1, 5, 0.9375), (1, 1, 1, 0.0)],
)
def test_ends_are_those_of_the_tables_of_order_statistics(count: int, low: int, high: int, level: float) -> None:
    """The ranks and levels that stand in textbooks for n = 6, 15 and 20."""
    found = median_interval([float(value) for value in range(count, 0, -1)])
    assert (found.low, found.high) == (low, high)
    assert found.level == pytest.approx(level, abs=5e-6)


def test_one_wild_pair_does_not_move_it() -> None:
    calm = [1.0 + 0.001 * number for number in range(15)]
    assert median_interval([*calm[:-1], 9.0]) == median_interval(calm)


def test_the_other_version_is_what_its_interpreter_imports(tmp_path: Path) -> None:
    """With -I, as servers are started, and with the packages of this one."""
    tree = tmp_path / "tree"
    (tree / "adapter").mkdir(parents=True)
    (tree / "adapter" / "__init__.py").write_text("WHO = 'the other'", encoding="utf-8")
    pins = f"click=={metadata.version('click')}\nclick==0.1 ; python_version < '3'\n"
    (tree / "constraints.txt").write_text(pins, encoding="utf-8")
    (tree / "pyproject.toml").write_text('dependencies = [\n  "click>=8.1",\n]\n', encoding="utf-8")
    python = another_version.interpreter(tree, tmp_path / "venv")
    program = "import adapter, click; print(adapter.WHO, click.__file__)"
    said = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert said.stdout.split() == ["the", "other", click.__file__]
