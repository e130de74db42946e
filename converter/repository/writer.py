"""The only disk writes of a build: a complete new folder, then one atomic switch.

`model_repository` is a link to `.model_repository.builds/<n>`; a reader sees the old repository or the new
one, whole, whenever the build is killed. The build that was served before is kept, for a Triton that still has it
open, and to go back to if the new one does not load.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from converter.errors import RepositoryError
from converter.progress import show_progress
from converter.repository.build_plan import BuildPlan
from converter.repository.content import PlannedFile, digest, read_chunks, read_files
from converter.repository.lock import lock_repository
from converter.repository.stamps import write_stamps
from converter.schema.manifest import FILENAME

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# A file by its place on its disk, and its sha256.
_Source = tuple[int, int, str]


def commit(plan: BuildPlan) -> None:
    """Write the repository and switch to it, if it differs. Raises RepositoryError, and leaves the old one as it is."""
    if plan.changes:
        with stage(plan) as new:
            new.switch()
    write_stamps(plan.output, plan.stamps)


@contextlib.contextmanager
def stage(plan: BuildPlan) -> Iterator[StagedBuild]:
    """Write a new repository beside the old one, for the block unless it is switched to. Raises RepositoryError."""
    try:
        with lock_repository(plan.output) as builds:
            new = StagedBuild(plan.output, _write_new(plan, builds))
            try:
                yield new
            finally:
                if not _points_at(plan.output, new.folder):
                    shutil.rmtree(new.folder, ignore_errors=True)
    except OSError as error:
        raise RepositoryError(f"{plan.output}: the repository could not be written: {error.strerror}") from error


class StagedBuild:
    """A complete build in its `folder`, and the one that is served until the switch, None if there is none."""

    def __init__(self, output: Path, folder: Path) -> None:
        self._output = output
        self.folder = folder
        self.served = output.resolve() if output.is_symlink() and output.exists() else None

    def switch(self) -> None:
        """Have the repository be this build, and remove those but this one and the one before."""
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


def _write_new(plan: BuildPlan, builds: Path) -> Path:
    for leftover in builds.glob("*.partial"):
        shutil.rmtree(leftover)
    numbers = [int(path.name) for path in builds.iterdir() if path.name.isdigit()]
    target = builds / f"{max(numbers, default=0) + 1:06d}"
    partial = target.with_suffix(".partial")
    try:
        written: dict[_Source, Path] = {}
        files = {**plan.files, **read_files({FILENAME: plan.manifest.to_json()})}
        with show_progress("writing files", len(files)) as told:
            for name, file in files.items():
                _write_file(partial / name, file, written)
                told()
        sync_all(partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def _write_file(path: Path, file: PlannedFile, written: dict[_Source, Path]) -> None:
    """Write a file, or link it to what was `written` of the same source: the runtime lies beside each model.

    In the build before, from which unchanged models come, it is one file of many names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(file.content, bytes):
        path.write_bytes(file.content)
        return
    seen = os.stat(file.content, follow_symlinks=False)
    key = seen.st_dev, seen.st_ino, file.digest
    if key in written:
        with contextlib.suppress(OSError):  # a file system without links, or with too many to this file
            path.hardlink_to(written[key])
            return
    copy_regular_file(file.content, path)
    if digest(path) != file.digest:
        raise RepositoryError(f"{file.content} changed while it was copied: build again")
    written[key] = path


def copy_regular_file(source: str | Path, path: Path) -> None:
    """Copy what the file has now, following no link; nobody may read the copy who may not read the file."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file, open(path, "wb") as copy:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            raise RepositoryError(f"{source} is not a regular file any more: build again")
        mode = stat.S_IMODE(os.fstat(copy.fileno()).st_mode)
        os.fchmod(copy.fileno(), mode & seen.st_mode | stat.S_IRUSR)
        copy.writelines(read_chunks(file))


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
    _sync(output.parent)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names in one step (Linux, renameat2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)}, moving away the plain folder that is there: remove it")


def sync_all(folder: Path) -> None:
    """Have all that was written below a folder on the disk: in one go, where each file alone takes milliseconds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
