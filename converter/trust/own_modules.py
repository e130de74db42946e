"""The modules beside a pickle: what it takes from them is code for the operator to read, and for nobody else."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.trust.allow_list import USES, allowed

# Of other Pythons than this one.
_GONE = {"asynchat", "asyncore", "distutils", "imp", "smtpd", "cgi", "crypt", "nntplib", "pipes", "telnetlib", "uu"}


@functools.cache
def _reserved() -> frozenset[str]:
    listed = {module.split(".")[0] for use in USES for module, _ in allowed(use)}
    return frozenset({*sys.stdlib_module_names, *_GONE, *listed, "torch", "joblib", "cloudpickle", "dill"})


@dataclass(frozen=True)
class OwnModules:
    """The Python files of a model's folder, by their path there.

    `above` is how modules are called from the folder that holds the models, as `models.iris`. A file that has the name
    of a module of Python, of a listed package or of one of `installed` is none: which of them is meant nobody can tell.
    """

    files: Mapping[str, Path]
    above: str = ""
    installed: frozenset[str] = frozenset()

    def find_file(self, module: str, name: str) -> str | None:
        """Return the file that defines a class or function; None if there is none, or it imports that itself."""
        inner = module.removeprefix(f"{self.above}.") if self.above else module
        top = inner.split(".")[0]
        if inner == module and (top in _reserved() or top in self.installed):
            return None
        stem = "/".join(inner.split("."))
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if file in self.files and name in _list_definitions(self.files[file]):
                return file
        return None


@functools.lru_cache(maxsize=256)
def _list_definitions(path: Path) -> frozenset[str]:
    """List the classes and functions that stand at the top of a module."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return frozenset()
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in body if isinstance(node, kinds))
