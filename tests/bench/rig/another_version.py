"""Another commit of the project in a folder, and an interpreter that has it in the place of this one."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.support.servers.server import ROOT

# No tomllib, which Python 3.10 has not.
_DEPENDENCIES = re.compile(r"^dependencies = \[\n(.*?)^\]", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r'^  "([A-Za-z0-9._-]+)', re.MULTILINE)
_PIN = re.compile(r"^[A-Za-z0-9._-]+==.*$", re.MULTILINE)


def check_out(commit: str, folder: Path) -> tuple[Path, str]:
    """Write the files of a commit into `folder`, which is made; the folder and the commit's short name."""
    known = _run(["git", "rev-parse", "--short", f"{commit}^{{commit}}"]).decode().strip()
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=_run(["git", "archive", known]), check=True)
    command = folder / "schwift" / "__main__.py"
    if not command.exists():
        # An older version, whose command was the converter's.
        command.parent.mkdir(exist_ok=True)
        command.write_text("from converter.__main__ import main\n\nmain()\n", encoding="utf-8")
    return folder, known


def interpreter(tree: Path, folder: Path) -> str:
    """The path of a Python whose `converter`, `adapter` and the rest are those of `tree`.

    The packages of others are those of this interpreter; where `tree` pins other versions of them, they are installed.
    A server is started with `python -I`, which heeds no PYTHONPATH, so this is an environment of its own.
    """
    subprocess.run([sys.executable, "-m", "venv", *([] if _differs(tree) else ["--without-pip"]), folder], check=True)
    python = folder / "bin" / "python"
    if _differs(tree):
        pinned = ["-c", str(tree / "constraints.txt")]
        # Before there was `all`, everything in it was always installed.
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned, "-e", f"{tree}[all]"], check=True)
        return str(python)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # What is on a path that a .pth file names is found, but no .pth file there is read: not that of this very project.
    paths = f"{tree}\n{sysconfig.get_path('purelib')}\n"
    (folder / "lib" / version / "site-packages" / "another_version.pth").write_text(paths, encoding="utf-8")
    return str(python)


def _differs(tree: Path) -> bool:
    """Whether a package that is installed here is pinned otherwise there, or one that it needs is not here."""
    pins = map(Requirement, _PIN.findall((tree / "constraints.txt").read_text(encoding="utf-8")))
    needed = _DEPENDENCIES.search((tree / "pyproject.toml").read_text(encoding="utf-8"))
    if needed is None or not all(map(_is_here, _NAMED.findall(needed[1]))):
        return True
    return any(
        _is_here(pin.name) and not pin.specifier.contains(metadata.version(pin.name))
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    )


def _is_here(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
