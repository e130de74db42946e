"""The files of a model's folder as they really are: where links end, and whether they stay what they were.

What goes into the repository is served, so nothing may come along that is not the operator's to give: a link ends in
the folder of the models or in one that SCHWIFT_MODEL_LINKS names, and everything is a regular file that can be read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from converter.errors import ConfigError
from converter.schema.model import LOCK_FILES

LEFT_OUT = {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"}
# All files of a model together: more is not a lite model, but a data set or a file with holes.
MOST_BYTES = 16 * 1024**3
_MOST_DEPTH = 64


@dataclass(frozen=True)
class SourceFile:
    """`path` has no link in it; `stamp` changes with the file or its content."""

    path: Path
    stamp: tuple[int, ...]


def list_files(folder: Path, allowed: Sequence[Path]) -> dict[str, SourceFile]:
    """List every file below a model's folder, by its path there.

    Links may end in the `allowed` folders, which have no link in them, and in the folder itself, which may be a link
    that the operator put there. Raises ConfigError for what cannot be copied, with the remedy.
    """
    found: dict[str, SourceFile] = {}
    allowed = [*allowed, folder.resolve()]
    total = 0
    for where, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for name in folders:
            if Path(where, name).is_symlink():
                raise ConfigError(f"{Path(where, name)}: a link to a folder is not copied: put the folder itself here")
        if len(Path(where).relative_to(folder).parts) > _MOST_DEPTH:
            raise ConfigError(f"{folder}: folders in folders, over {_MOST_DEPTH} deep: remove them")
        for name in sorted(files):
            if (name in LOCK_FILES and Path(where) == folder) or name in LEFT_OUT or name.endswith((".pyc", ".pyo")):
                continue
            path = Path(where, name)
            file = _check_file(path, allowed)
            total += file.stamp[2]
            if total > MOST_BYTES:
                raise ConfigError(
                    f"{path}: with it the model's files are {total} bytes, and {MOST_BYTES} are the most: keep what "
                    "the model does not load elsewhere"
                )
            found[path.relative_to(folder).as_posix()] = file
    return found


def check_unchanged(files: Mapping[str, SourceFile]) -> None:
    """Raise ConfigError if a file has changed since it was listed: what was inspected is what is copied."""
    for file in files.values():
        try:
            same = _make_stamp(os.stat(file.path, follow_symlinks=False)) == file.stamp
        except OSError:
            same = False
        if not same:
            raise ConfigError(f"{file.path}: changed while it was inspected: build again when nothing writes to it")


def _check_file(path: Path, allowed: Sequence[Path]) -> SourceFile:
    try:
        real = Path(os.path.realpath(path, strict=True))
        if path.is_symlink():
            _check_inside(path, real, allowed)
        seen = os.stat(real, follow_symlinks=False)
        # Opening a device may do something, and opening a pipe waits.
        if stat.S_ISREG(seen.st_mode):
            with open(os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                seen = os.fstat(file.fileno())
            if stat.S_ISREG(seen.st_mode):
                return SourceFile(real, _make_stamp(seen))
    except FileNotFoundError:
        pass
    except OSError as error:
        _refuse_unreadable(error, path)
    raise ConfigError(f"{path}: not a regular file, or a link to nothing: remove it")


def _check_inside(path: Path, real: Path, allowed: Sequence[Path]) -> None:
    if not any(real.is_relative_to(folder) for folder in allowed):
        raise ConfigError(
            f"{path}: a link to {real}, outside of {allowed[0]}: copy it here, or let SCHWIFT_MODEL_LINKS name the "
            "folder that such links may point into"
        )


def _make_stamp(seen: os.stat_result) -> tuple[int, ...]:
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def _refuse_unreadable(error: OSError, path: Path | None = None) -> NoReturn:
    raise ConfigError(
        f"{path or error.filename}: cannot be read: {error.strerror}: let the build's user read it, or remove it"
    ) from error


def tell_kind(path: Path) -> str | None:
    """Say what a file that its backend cannot read is, and which backend can; None if its first bytes do not tell."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PK"):
        return "an archive, as torch writes it: backend torch loads it under a name that ends in .pt"
    if head.startswith(b"\x80"):
        return "a pickle: backend sklearn loads it under a name that ends in .joblib or .pkl"
    # A graph's first field is the version of ONNX's format, and the second who made it, or a newer field.
    if len(head) > 2 and head[0] == 0x08 and head[1] < 0x20 and head[2] in b"\x12\x1a\x22\x3a\x42":
        return "an ONNX graph: backend onnx loads it under a name that ends in .onnx"
    if head.lstrip().startswith(b"<"):
        return "a page of the web, as of a download that failed: download the model's file again"
    return None
