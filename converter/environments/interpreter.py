"""The Pythons of this machine that models can run in, and what each has installed; none is changed."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.environments import describe_python
from converter.errors import EnvironmentProblem
from converter.schema.model import PYTHONS

# A Python on a slow disk takes a second or two for its first start.
_SECONDS = 60.0


@dataclass(frozen=True)
class Interpreter:
    """A Python that models can run in: of this machine, a venv or a conda environment.

    `prefix` has bin/python3 below it; `version` is "3.11"; `libpython` is the folder of libpython3.X.so.1.0 for
    LD_LIBRARY_PATH, None if the loader finds it alone. `packages` has the version of each distribution, by its
    normalized name ("scikit-learn"), `modules` the top-level names that can be imported, `paths` the folders that they
    are in.
    """

    prefix: Path
    version: str
    libpython: Path | None
    packages: Mapping[str, str]
    modules: frozenset[str]
    paths: tuple[Path, ...] = ()

    @property
    def executable(self) -> Path:
        """The program."""
        return self.prefix / "bin" / "python3"

    def has_module(self, dotted: str) -> bool:
        """Tell whether a module's file is there, without importing anything; what is in no folder may be anywhere."""
        top, *below = dotted.split(".")
        folders = [path / top for path in self.paths if (path / top).is_dir()]
        if not folders or not below:
            return top in self.modules
        places = [folder.joinpath(*below) for folder in folders]
        return any(place.is_dir() or any(place.parent.glob(f"{place.name}.*")) for place in places)


def examine_interpreter(prefix: Path, bare: bool = False) -> Interpreter:
    """Ask the Python of a venv or a conda environment what it has. Raises EnvironmentProblem with the remedy.

    With `bare`, which takes a plain venv, nothing runs that its packages brought, as `.pth` files do at each start.
    """
    prefix = Path(os.path.abspath(prefix))
    executable = prefix / "bin" / "python3"
    if not executable.exists():
        raise EnvironmentProblem(
            f"{prefix}: no Python environment, since it has no bin/python3: name the folder of a venv or of a conda "
            "environment"
        )
    said = _ask(str(executable), list(prefix.glob("lib/python3.*/site-packages")) if bare else None)
    if said is None:
        raise EnvironmentProblem(f"{executable} does not run: make the environment anew, or name another")
    _check_python(prefix, said)
    return _make_interpreter(prefix, said)


@functools.cache
def own_interpreter() -> Interpreter:
    """Describe this process's own Python, without starting another; whether it can serve is not asked."""
    return _make_interpreter(Path(sys.prefix), describe_python.describe())


def find_pythons() -> Mapping[str, Path]:
    """Find a Python of each version that environments can be made of, by version: our own, on PATH, or of pyenv."""
    found: dict[str, Path] = {}
    for version, executable in _list_candidates():
        if version not in found:
            said = _ask(executable)
            if said and said["version"] == version and said["makes_venvs"] and said["libpython"] is not None:
                found[version] = Path(said["executable"])
    return found


def _list_candidates() -> Iterator[tuple[str, str]]:
    yield "{}.{}".format(*sys.version_info[:2]), sys.executable
    for version in PYTHONS:
        # Every one on PATH: the first may be a shim that does not run.
        for folder in os.get_exec_path():
            program = shutil.which(f"python{version}", path=folder)
            if program is not None:
                yield version, program
    root = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"))
    for version in PYTHONS:
        for prefix in sorted(root.glob(f"versions/{version}.*"), reverse=True):
            yield version, str(prefix / "bin" / "python3")


def _ask(executable: str, packages: Sequence[Path] | None = None) -> dict[str, Any] | None:
    """Have a Python describe itself, with these folders in the place of its own packages; None if it does not run."""
    program = Path(describe_python.__file__).read_text(encoding="utf-8")
    options = ["-I", "-B", *(["-S"] if packages is not None else [])]
    try:
        done = subprocess.run(
            [executable, *options, "-c", program, *map(str, packages or ())],
            capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        said: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return said


def _check_python(prefix: Path, said: Mapping[str, Any]) -> None:
    """Raise EnvironmentProblem if Triton could not run this Python."""
    version = said["version"]
    if version not in PYTHONS:
        remedy = "use a 3.13 environment" if int(version.split(".")[1]) > 13 else "the oldest is 3.10: use a newer one"
        raise EnvironmentProblem(f"{prefix}: Python {version} does not run models here: {remedy}")
    if said["libpython"] is None:
        raise EnvironmentProblem(
            f"{prefix}: libpython{version}.so.1.0 is missing, and Triton's Python models need it: apt-get install "
            f"libpython{version}, or build Python with --enable-shared"
        )


def _make_interpreter(prefix: Path, said: Mapping[str, Any]) -> Interpreter:
    return Interpreter(
        prefix=prefix,
        version=said["version"],
        libpython=Path(said["libpython"]) if said["libpython"] else None,
        packages=said["packages"],
        modules=frozenset(said["modules"]),
        paths=tuple(map(Path, said["paths"])),
    )
