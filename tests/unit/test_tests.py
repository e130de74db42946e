"""Tests ask what everybody may ask: an attribute with an underscore is its own class's business."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OF_OTHERS = {
    # Ends a forked process without what its parent would do at its end.
    "os._exit",
}
# Their second argument is an attribute's name.
BY_NAME = ("getattr", "setattr", "delattr", "hasattr")


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a private name of another object or module stands, and what is written there."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield node.lineno, ast.unparse(node)
            case ast.ImportFrom(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases if is_private(alias.name))
            case ast.Call(args=[_, ast.Constant(value=name), *_]) if is_private(name):
                called = ast.unparse(node.func).rpartition(".")[2]
                if called in BY_NAME:
                    yield node.lineno, str(name)
            case ast.Call(args=[ast.Constant(value=str(path)), *_]) if is_private(path.rpartition(".")[2]):
                if ast.unparse(node.func).endswith(".setattr"):
                    yield node.lineno, path


def test_no_test_asks_for_a_private_name() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for line, text in private_names(ast.parse(file.read_text(encoding="utf-8")))
        if text not in OF_OTHERS
    ]
    assert found == []


def test_private_names_are_found_however_they_are_asked_for() -> None:
    asked = """
from adapter.app import _one, two
one._two.three
super()._four()
patch.setattr(thing, "_five", 5)
patch.setattr("adapter.app._six", 6)
self._own, cls._own, thing.__dict__, "a".replace("a", "_b")
"""
    assert [text for _, text in sorted(private_names(ast.parse(asked)))] == [
        "_one", "one._two", "super()._four", "_five", "adapter.app._six",
    ]  # fmt: skip
