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


def parameters_of(cls: ast.ClassDef) -> int:
    """How many its `__init__` takes, written or made by `@dataclass`."""
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return len(node.args.args + node.args.kwonlyargs) - 1
    made = [text for text in map(ast.unparse, cls.decorator_list) if "dataclass" in text and "frozen" not in text]
    fields = [node for node in cls.body if isinstance(node, ast.AnnAssign) and "init=False" not in ast.unparse(node)]
    return len(fields) if made else 0


def test_constructors_take_few_parameters() -> None:
    """Frozen dataclasses, which only hold what belongs together, may have more."""
    found = [
        f"{path}: {node.name} takes {count}"
        for path, tree in trees("adapter", "converter", "schwift", "triton_repo_template")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        if (count := parameters_of(node)) > MOST_PARAMETERS
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
