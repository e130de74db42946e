"""The classes and functions that a pickle may name, each by its exact name and for what it is used.

`allowed/*_generated.txt` are written by tests/support/allow_lists from the libraries themselves, `*_reviewed.txt` by
hand; `<use>_….txt` are those of one use (pickle_interpreter.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).with_name("allowed")
USES = ("make", "call", "fill", "refer")


def read_list(path: Path) -> set[tuple[str, str]]:
    """Read lines of `module: name name …` into pairs."""
    lines = (line.partition(": ") for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {(module, name) for module, _, names in lines for name in names.split()}


def format_list(names: Iterable[tuple[str, str]]) -> str:
    """Write what `read_list` reads, a module a line."""
    modules: dict[str, list[str]] = {}
    for module, name in sorted(names):
        modules.setdefault(module, []).append(name)
    return "".join(f"{module}: {' '.join(words)}\n" for module, words in modules.items())


@functools.cache
def allowed(use: str) -> frozenset[tuple[str, str]]:
    """Return what may be used so."""
    return frozenset(name for path in FOLDER.glob(f"{use}_*.txt") for name in read_list(path))


def list_refused(uses: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """List the uses that are not on the lists, by module and name."""
    return sorted((module, name, use) for module, name, use in uses if (module, name) not in allowed(use))


def list_unused(names: Iterable[tuple[str, str]], uses: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """List what a pickle imports without using it, and no list has: to import a module is to run it."""
    used = {(module, name) for module, name, _ in uses}
    return sorted(name for name in set(names) - used if not any(name in allowed(use) for use in USES))
