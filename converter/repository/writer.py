"""The only disk writes of a build: a complete new folder, then one atomic switch.

`model_repository` is a link to `.model_repository.builds/<n>`; a reader sees the old repository or the new
one, whole, whenever the build is killed. The build that was served before is kept, for a Triton that still has it
open, and to go back to where the new one does not load.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.errors import RepositoryError
from converter.repository.digest import digest
from converter.repository.lock import builds_path, locked
from converter.repository.plan import Plan
from converter.schema.manifest import FILENAME, Manifest, entry_json, read_manifest

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CHUNK = 1024 * 1024

# What `write` is: it makes the plan, with its manifest, the repository at a path.
Write = Callable[[Plan, Manifest, Path], None]


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
    return {name: digest(content) for name, content in plan.files.items()}


def existing(output: Path, tolerant: bool = False) -> Manifest | None:
    """The manifest that is there now; None where nothing is.

    RepositoryError where `output` is something that a build must not replace, or where its manifest cannot be read;
    `tolerant` takes a repository of ours with such a manifest for none, as a whole build replaces it.
    """
    if not os.path.lexists(output):
        return None
    ours = output.is_symlink() and output.resolve().parent == builds_path(output).resolve()
    if ours or (output / FILENAME).is_file():
        try:
            manifest = read_manifest(output) if output.exists() else None
            if manifest is not None and not ours:
                _refuse_foreign_files(output, manifest)
            return manifest
        except RepositoryError:
            if ours and tolerant:
                return None
            raise
    if output.is_dir() and not output.is_symlink() and not any(output.iterdir()):
        return None
    raise RepositoryError(
        f"{output} is there and was not written by `schwift build-repo`: name another folder with --output"
    )


def _refuse_foreign_files(output: Path, manifest: Manifest) -> None:
    """A plain folder is replaced whole: nothing in it may be a user's."""
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_file() and name != FILENAME and name not in manifest.files and "__pycache__" not in path.parts:
            raise RepositoryError(f"{path} is not of the repository in {output}: move it, or name another --output")


def compare(old: Manifest | None, new: Manifest) -> Changes:
    """What differs in the versions that are served, the manifest included where only it differs."""
    numbers = {name: entry.version for entry in new.models for name in entry.triton_models}
    before = _served(old, numbers) if old else {}
    after = _served(new, numbers)
    changed = [name for name, expected in after.items() if before.get(name, expected) != expected]
    # As JSON, where NaN is like NaN.
    entries = {entry.name: entry_json(entry) for entry in old.models} if old else {}
    models = tuple(entry.name for entry in new.models if entries.get(entry.name) != entry_json(entry))
    if old is not None and (models or len(old.models) != len(new.models) or old.older != new.older):
        changed.append(FILENAME)
    return Changes(
        added=tuple(name for name in after if name not in before),
        changed=tuple(changed),
        removed=tuple(name for name in before if name not in after),
        models=models,
    )


def _served(manifest: Manifest, numbers: Mapping[str, int]) -> dict[str, str]:
    """The files but for those of older versions, as if each model had its new number."""
    olds = tuple(f"{name}/{item.version}/" for item in manifest.older for name in item.entry.triton_models)
    now = {name: entry.version for entry in manifest.models for name in entry.triton_models}
    found = {}
    for path, expected in manifest.files.items():
        name, _, rest = path.partition("/")
        number, _, inner = rest.partition("/")
        if not path.startswith(olds):
            renamed = name in numbers and inner and number == str(now.get(name))
            found[f"{name}/{numbers[name]}/{inner}" if renamed else path] = expected
    return found


def write(plan: Plan, manifest: Manifest, output: Path) -> None:
    """Write the repository and switch `output` to it. RepositoryError leaves the old one as it was."""
    with stage(plan, manifest, output) as new:
        new.switch()


@contextlib.contextmanager
def stage(plan: Plan, manifest: Manifest, output: Path) -> Iterator[StagedBuild]:
    """Write the new repository beside the old one, which other builds leave alone meanwhile.

    It is removed in the end unless it was switched to. RepositoryError leaves the old one as it was.
    """
    try:
        with locked(output) as builds:
            new = StagedBuild(output, _write_new(plan, manifest, builds))
            try:
                yield new
            finally:
                if not _points_at(output, new.folder):
                    shutil.rmtree(new.folder, ignore_errors=True)
    except OSError as error:
        raise RepositoryError(f"{output}: the repository could not be written: {error.strerror}") from error


class StagedBuild:
    """A complete build in its `folder`, and the one that is served until the switch, None where there is none."""

    def __init__(self, output: Path, folder: Path) -> None:
        self._output = output
        self.folder = folder
        self.served = output.resolve() if output.is_symlink() and output.exists() else None

    def switch(self) -> None:
        _switch(self._output, self.folder)
        kept = {self.folder.name, self.served.name if self.served else None}
        for path in self.folder.parent.iterdir():
            if path.name.isdigit() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def undo(self) -> None:
        """Switch back to the build that was served, so that Triton takes its configs for newer than the undone ones."""
        assert self.served is not None, "there was no repository to go back to"
        for config in self.served.glob("*/config.pbtxt"):
            os.utime(config)
        _switch(self._output, self.served)


def _write_new(plan: Plan, manifest: Manifest, builds: Path) -> Path:
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
    return target


def _write_file(path: Path, content: bytes | Path, expected: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        copy_regular_file(content, path)
        if expected is not None and digest(path) != expected:
            raise RepositoryError(f"{content} changed while it was copied: build again")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_regular_file(source: Path, path: Path) -> None:
    """What the file has now, without following a link; nobody may read the copy who may not read the file."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file, open(path, "wb") as copy:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise RepositoryError(f"{source} is not a regular file any more: build again")
        mode = stat.S_IMODE(os.fstat(copy.fileno()).st_mode)
        os.fchmod(copy.fileno(), mode & seen.st_mode | stat.S_IRUSR)
        left = seen.st_size
        # No more than it had: a file that grows would have no end.
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            copy.write(chunk)
            left -= len(chunk)


def _points_at(output: Path, folder: Path) -> bool:
    return output.is_symlink() and output.resolve() == folder.resolve()


def _switch(output: Path, target: Path) -> None:
    """Point the link at the new build, by one rename."""
    link = output.with_name(f".{output.name}.link")
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)  # a folder that an exchange left here
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(target, output.parent))
    if output.is_dir() and not output.is_symlink():
        # A plain folder (empty, or a copy of a repository) cannot be renamed over, but can change places.
        _exchange(link, output)
        shutil.rmtree(link)
    else:
        os.replace(link, output)
    _sync_folder(output.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names in one step (Linux, renameat2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)}, moving away the plain folder that is there: remove it")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
