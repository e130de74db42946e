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
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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

# More than cores: they wait for the disk.
_WRITERS = 4

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
                new.wait_removed()
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
        # Thousands of files: removed while the server switches.
        self._removal = threading.Thread(target=self._remove_old, name="remove old builds")

    def switch(self) -> None:
        """Have the repository be this build, and begin to remove those but this one and the one before."""
        _switch(self._output, self.folder)
        self._removal.start()

    def wait_removed(self) -> None:
        """Wait until old builds are removed, if that has begun."""
        if self._removal.is_alive():
            self._removal.join()

    def _remove_old(self) -> None:
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
        files = {**plan.files, **read_files({FILENAME: plan.manifest.to_json()})}
        with show_progress("writing files", len(files)) as told:
            _Writer(partial, f"{builds.resolve()}/", told).write(files)
        sync_all(partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


class _Writer:
    """Writes the files of a build into its folder; `within` is how the paths of earlier builds begin.

    `told` is called after each file.
    """

    def __init__(self, folder: Path, within: str, told: Callable[[], None]) -> None:
        self._folder = folder
        self._within = within
        self._told = told
        # By its source, what is written already.
        self._written: dict[_Source, Path] = {}
        self._lock = threading.Lock()

    def write(self, files: Mapping[str, PlannedFile]) -> None:
        """Write the folders of several Triton models at a time: to make a folder is mostly the disk's work."""
        parts: dict[str, list[str]] = defaultdict(list)
        for name in files:
            parts[name.partition("/")[0]].append(name)
        with ThreadPoolExecutor(max_workers=_WRITERS) as pool:
            for _ in pool.map(lambda names: self._write_part(files, names), parts.values()):
                pass

    def _write_part(self, files: Mapping[str, PlannedFile], names: Iterable[str]) -> None:
        folders: set[Path] = set()
        for name in names:
            path = self._folder / name
            if path.parent not in folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                folders.add(path.parent)
            self._write_file(path, files[name])
            self._told()

    def _write_file(self, path: Path, file: PlannedFile) -> None:
        """Write a file, or link it to what was written of the same source: the runtime lies beside each model.

        Files of the build before are linked too: nobody writes into them, and the disk takes longer for a new file.
        """
        if isinstance(file.content, bytes):
            path.write_bytes(file.content)
            return
        seen = os.stat(file.content, follow_symlinks=False)
        key = seen.st_dev, seen.st_ino, file.digest
        if self._link_written(key, path):
            return
        with self._lock:
            # Another thread may have written it meanwhile.
            if self._link_written(key, path):
                return
            if not (str(file.content).startswith(self._within) and _link(file.content, path)):
                copy_regular_file(file.content, path)
            if digest(path) != file.digest:
                raise RepositoryError(f"{file.content} changed while it was copied: build again")
            self._written[key] = path

    def _link_written(self, key: _Source, path: Path) -> bool:
        written = self._written.get(key)
        return written is not None and _link(written, path)


def _link(source: str | Path, path: Path) -> bool:
    """Give a file one more name, and return whether that could be done."""
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError:  # a file system without links, or with too many to this file
        return False
    return True


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
