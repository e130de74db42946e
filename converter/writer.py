"""The only disk writes of a build: a complete new folder, then one atomic switch.

`model_repository` is a link to `.model_repository.builds/<n>`; a reader sees the old repository or the new
one, whole, whenever the build is killed. The build before the last is kept, for a Triton that still has it open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converter.errors import RepositoryError
from converter.plan import Plan
from converter.spec.manifest import FILENAME, Manifest, entry_json, read_manifest

_KEPT_BUILDS = 2
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Changes:
    """What a build does to a repository, as paths relative to its root; `models` have another entry in it."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    models: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def digests(plan: Plan) -> dict[str, str]:
    """The sha256 of every file of a plan."""
    return {name: _digest(content) for name, content in plan.files.items()}


def existing(output: Path) -> Manifest | None:
    """The manifest that is there now; None where nothing is.

    RepositoryError where `output` is something that a build must not replace.
    """
    if not os.path.lexists(output):
        return None
    if output.is_symlink() or (output / FILENAME).is_file():
        return read_manifest(output) if output.exists() else None
    if output.is_dir() and not any(output.iterdir()):
        return None
    raise RepositoryError(
        f"{output} is there and was not written by `schwift build-repo`: name another folder with --output"
    )


def compare(old: Manifest | None, new: Manifest) -> Changes:
    """What differs, the manifest included where only it differs."""
    before = old.files if old else {}
    changed = [name for name, digest in new.files.items() if before.get(name, digest) != digest]
    # As JSON, where NaN is like NaN.
    entries = {entry.name: entry_json(entry) for entry in old.models} if old else {}
    models = tuple(entry.name for entry in new.models if entries.get(entry.name) != entry_json(entry))
    if old is not None and (models or len(old.models) != len(new.models)):
        changed.append(FILENAME)
    return Changes(
        added=tuple(name for name in new.files if name not in before),
        changed=tuple(changed),
        removed=tuple(name for name in before if name not in new.files),
        models=models,
    )


def write(plan: Plan, manifest: Manifest, output: Path) -> None:
    """Write the repository and switch `output` to it. RepositoryError leaves the old one as it was."""
    try:
        with _locked(_builds_of(output)) as builds:
            _write_locked(plan, manifest, output, builds)
    except OSError as error:
        raise RepositoryError(f"{output}: the repository could not be written: {error.strerror}") from error


def _write_locked(plan: Plan, manifest: Manifest, output: Path, builds: Path) -> None:
    for leftover in builds.glob("*.partial"):
        shutil.rmtree(leftover)
    numbers = [int(path.name) for path in builds.iterdir() if path.name.isdigit()]
    target = builds / f"{max(numbers, default=0) + 1:06d}"
    partial = target.with_suffix(".partial")
    try:
        for name, content in plan.files.items():
            _write_file(partial / name, content, manifest.files[name])
        _write_file(partial / FILENAME, manifest.to_json(), None)
        _sync_folder(partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _switch(output, target)
    current = target.name
    for path in sorted((path for path in builds.iterdir() if path.name.isdigit()), reverse=True)[_KEPT_BUILDS:]:
        if path.name != current:
            shutil.rmtree(path, ignore_errors=True)


def _write_file(path: Path, content: bytes | Path, digest: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)
        if digest is not None and _digest(path) != digest:
            raise RepositoryError(f"{content} changed while it was copied: build again")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _switch(output: Path, target: Path) -> None:
    """Point the link at the new build, by one rename."""
    if not output.is_symlink() and output.is_dir():
        _make_way(output)
    link = output.with_name(f".{output.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(target, output.parent))
    os.replace(link, output)
    _sync_folder(output.parent)


def _make_way(output: Path) -> None:
    """A real folder stands where the link goes: an empty one, or a copy of a repository."""
    if any(output.iterdir()):
        shutil.rmtree(output)
    else:
        output.rmdir()


def _builds_of(output: Path) -> Path:
    builds = output.with_name(f".{output.name}.builds")
    builds.mkdir(parents=True, exist_ok=True)
    return builds


@contextlib.contextmanager
def _locked(builds: Path) -> Iterator[Path]:
    """Two builds of one repository take turns."""
    with open(builds / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield builds


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    try:
        with open(content, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise RepositoryError(f"{content}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()
