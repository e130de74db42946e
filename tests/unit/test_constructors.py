"""How objects are put together: from what they are given, and from few things."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_PARAMETERS = 6


def trees(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def test_constructors_take_few_parameters() -> None:
    """Dataclasses, which hold what belongs together, have none that is written."""
    found = [
        f"{path}: {node.name} takes {count}"
        for path, tree in trees("adapter", "converter", "schwift", "triton_repo_template")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
        if (count := len(function.args.args + function.args.kwonlyargs) - 1) > MOST_PARAMETERS
    ]
    assert found == []


def test_nothing_of_the_adapter_makes_what_it_was_not_given() -> None:
    """`x or X()`: wiring.py and app.py make everything, once."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in trees("adapter")
        for node in ast.walk(tree)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and isinstance(node.values[0], ast.Name)
        if isinstance(made := node.values[-1], ast.Call) and isinstance(made.func, ast.Name)
        if made.func.id[:1].isupper()
    ]
    assert found == []
