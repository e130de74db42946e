"""`requirements.lock` beside a model: the packages that its environment was made of, for the next build and machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from converter.errors import ConfigError
from converter.schema.model import LOCK_FILES, LOCK_NAME
from converter.schema.requirement import check_requirement

_HEADER = """\
# Written by schwift: the packages of this model's environment, for its next build, here or elsewhere.
# Keep it with the model. It is made anew when the requirements change.
"""
_MARK = "# of: "
_MOST_BYTES = 1024 * 1024
_KEY = re.compile(r"[0-9a-f]{32}")
# A package and its version, in the plain form of a requirement.
_PIN = re.compile(r"[\w.-]+==[\w.!+-]+")


def hash_request(lines: Sequence[str], python: str) -> str:
    """Return what a lock is found by: the hash of the requirements, the Python ("3.12") and the platform."""
    parts = json.dumps([sorted(lines), python, sysconfig.get_platform()])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def hash_lock(lock: Sequence[str], python: str) -> str:
    """Return the key of an environment."""
    return hash_request(lock, python)


def is_key(text: str) -> bool:
    """Tell whether a text can be the key of an environment."""
    return _KEY.fullmatch(text) is not None


def read_lock(folder: Path, request: str) -> tuple[str, ...]:
    """Read the lock beside a model; empty if there is none, or it is of another request.

    Raises ConfigError for each line that is no package with its version: pip would take it.
    """
    try:
        with open(folder / LOCK_NAME, encoding="utf-8", opener=_open_file) as file:
            lines = file.read(_MOST_BYTES).splitlines() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else []
    except (OSError, UnicodeDecodeError):
        return ()
    if f"{_MARK}{request}" not in lines:
        return ()
    pins: list[str] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            try:
                pins.append(_check_pin(line))
            except ValueError as error:
                where = f"{folder.name}/{LOCK_NAME}:{number}"
                problems.append(f"{where}: {error}; or remove the file, and the build makes it anew")
    if problems:
        raise ConfigError(problems)
    return tuple(pins)


def list_lacking(lines: Sequence[str], lock: Sequence[str]) -> list[str]:
    """List the requirements that a lock does not fulfil, but for those with a marker, which may be for others."""
    versions = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lock)}
    wanted = [each for each in map(Requirement, lines) if each.marker is None]
    return [str(each) for each in wanted if not _takes(each, versions.get(canonicalize_name(each.name)))]


def write_lock(folder: Path, request: str, lock: Sequence[str]) -> None:
    """Write the lock beside a model if it differs, and the folder can be written."""
    if read_lock(folder, request) == tuple(lock):
        return
    text = f"{_HEADER}{_MARK}{request}\n" + "".join(f"{line}\n" for line in lock)
    new = folder / LOCK_FILES[1]
    with contextlib.suppress(OSError):
        # What a build left that was killed, or a link to a file that is not ours.
        new.unlink(missing_ok=True)
        with open(new, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, folder / LOCK_NAME)


def _open_file(path: str, flags: int) -> int:
    """Open no link, and wait for no pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _check_pin(line: str) -> str:
    pin = check_requirement(line)
    if not _PIN.fullmatch(pin):
        raise ValueError(f"{line[:100]!r} is no package with its version: write it as in scikit-learn==1.7.2")
    return pin


def _takes(requirement: Requirement, version: str | None) -> bool:
    try:
        return version is not None and requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False
