"""One word, one meaning: no two classes of one name, and no two modules, in all that is ours."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("adapter", "converter", "schwift", "triton_repo_template")
# Each package has its own of these.
OF_EACH_PACKAGE = {"__init__", "__main__", "cli", "errors"}
# The names that Triton looks for, in each of its models.
OF_EACH_TRITON_MODEL = {"TritonPythonModel", "model"}
# What the runtime raises is what the adapter makes of its text: the same error on both sides of a process.
ON_BOTH_SIDES = {"BadModelOutput", "DeadlineExceeded"}
# What the runtime has a copy of.
COPIED = {"packed_strings", "fitted_columns", "envelope"}
COPIED_CLASSES = {"Part", "RawTensor"}


def files() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def repeated(names: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in names:
        found[name].append(str(path.relative_to(ROOT)))
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def public_classes() -> Iterator[tuple[str, Path]]:
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, path


def test_no_two_classes_have_one_name() -> None:
    assert repeated(public_classes()).keys() <= OF_EACH_TRITON_MODEL | ON_BOTH_SIDES | COPIED_CLASSES


def test_no_two_modules_have_one_name() -> None:
    assert repeated((path.stem, path) for path in files()).keys() <= OF_EACH_PACKAGE | OF_EACH_TRITON_MODEL | COPIED
