"""Wheels that tests make, which pip installs from a folder: no network, and packages of any version."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest


def add_wheel(
    folder: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    more: Mapping[str, str] | None = None,
) -> Path:
    """Write the wheel of a package with one module of its name, and more files."""
    module = {"scikit-learn": "sklearn"}.get(name, name.replace("-", "_"))
    stem = f"{name.replace('-', '_')}-{version}"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files: Mapping[str, str] = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **(more or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
        archive.writestr(f"{stem}.dist-info/RECORD", "".join(f"{each},,\n" for each in files))
    return path


def ask_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have pip take packages from this folder alone, whatever this machine's configuration says."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return folder
