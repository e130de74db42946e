"""Environments as users make them, with `python -m venv` and pip."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from converter.environments.interpreter import find_pythons
from tests.support.servers.server import ROOT

_LEFT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "model_repository", "bench_results")


def python_of(version: str) -> Path:
    """The machine's Python of a version: the tests need it."""
    found = find_pythons().get(version)
    assert found is not None, f"Python {version} with its shared library is not on this machine: install it"
    return found


def make_venv(version: str, folder: Path, *packages: str) -> Path:
    subprocess.run([str(python_of(version)), "-m", "venv", str(folder)], check=True, timeout=120)
    install(folder, *packages)
    return folder


def install(prefix: Path, *arguments: str) -> str:
    return run(prefix, "-m", "pip", "install", "--disable-pip-version-check", *arguments, seconds=900)


def run(prefix: Path, *arguments: str, seconds: float = 120) -> str:
    """What a command of this environment's Python prints; it must end with 0."""
    command = [str(prefix / "bin" / "python"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def versions(prefix: Path) -> dict[str, str]:
    """The version of each distribution."""
    lines = run(prefix, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check").splitlines()
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}


def digests(prefix: Path) -> Mapping[str, str]:
    """The sha256 of each file."""
    files = (path for path in sorted(prefix.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def copy_clone(folder: Path) -> Path:
    """The project as a clone has it: pip builds in the folder that it is given."""
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
    return folder
