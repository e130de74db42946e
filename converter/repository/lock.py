"""One build of a repository at a time: from its look at what is there until its switch.

The lock is the kernel's (flock), so a build that is killed leaves none behind. Who holds it writes down its process id,
which is what the next one says that it waits for. The wait has an end.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from converter.errors import RepositoryError

# A reload holds the lock while the server loads and tries what is new, which may take some loads' deadlines.
WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.1
_LOCK = "lock"
# What a build puts by while it works; the next one removes what is left of it.
SCRATCH = "scratch"
_MOST_DIGITS = 20

Say = Callable[[str], None]

# The builds' folders that this thread has locked already.
_held: contextvars.ContextVar[frozenset[Path]] = contextvars.ContextVar("held", default=frozenset())


def builds_path(output: Path) -> Path:
    """Name the folder of a repository's builds."""
    return output.with_name(f".{output.name}.builds")


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def lock_repository(
    output: Path,
    say: Say = _to_stderr,
    patience: float = WAIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    tidy: bool = False,
) -> Iterator[Path]:
    """Keep other builds of this repository waiting; gives the folder of the builds.

    Within a block of the same repository nothing more is locked. With `tidy`, a block that made no build leaves no
    empty folder. Raises RepositoryError if another build has it for more than `patience` seconds.
    """
    builds = builds_path(output)
    if builds in _held.get():
        yield builds
        return
    try:
        file = _acquire(builds / _LOCK, fcntl.LOCK_EX, say, patience, clock)
    except OSError as error:
        raise RepositoryError(f"{output}: the repository could not be written: {error.strerror}") from error
    token = _held.set(_held.get() | {builds})
    try:
        # A full disk has no room for the number, and the lock holds without it.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        shutil.rmtree(builds / SCRATCH, ignore_errors=True)
        yield builds
    finally:
        _held.reset(token)
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            if tidy and os.listdir(builds) == [_LOCK]:
                # Whoever waits sees that this lock is gone.
                os.unlink(builds / _LOCK)
                builds.rmdir()
        os.close(file)


@contextlib.contextmanager
def lock_for_reading(
    output: Path, say: Say = _to_stderr, patience: float = WAIT_SECONDS, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Keep builds waiting while the repository is read; writes nothing, even if there is none yet."""
    builds = builds_path(output)
    try:
        file = None if builds in _held.get() else _acquire(builds / _LOCK, fcntl.LOCK_SH, say, patience, clock)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # Nobody builds here, or somebody whose files are not ours to lock.
        file = None
    except OSError as error:
        raise RepositoryError(f"{output}: the repository could not be locked: {error.strerror}") from error
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def _acquire(path: Path, kind: int, say: Say, patience: float, clock: Callable[[], float]) -> int:
    """Return the descriptor of the locked file. Raises OSError if it cannot be opened or locked."""
    ends = clock() + patience
    told = False
    while True:
        file = _try_acquire(path, kind)
        if file is not None:
            return file
        if clock() > ends:
            raise RepositoryError(
                f"{path.parent}: another build{_read_holder(path)} is still at work after {patience:g} s: "
                "try again when it has ended"
            )
        if not told:
            say(f"another build is at work{_read_holder(path)}: waiting")
            told = True
        time.sleep(_POLL_SECONDS)


def _try_acquire(path: Path, kind: int) -> int | None:
    """Return the descriptor; None if somebody else has the lock."""
    flags = os.O_RDONLY
    if kind == fcntl.LOCK_EX:
        flags = os.O_RDWR | os.O_CREAT
        path.parent.mkdir(parents=True, exist_ok=True)
    file = None
    try:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        fcntl.flock(file, kind | fcntl.LOCK_NB)
        # The build before may have removed it since it was opened.
        if os.path.samestat(os.fstat(file), os.stat(path)):
            return file
    except OSError as error:
        again = error.errno == errno.EWOULDBLOCK or (error.errno == errno.ENOENT and kind == fcntl.LOCK_EX)
        if not again:
            if file is not None:
                os.close(file)
            raise
    if file is not None:
        os.close(file)
    return None


def _read_holder(path: Path) -> str:
    """Say which process has the lock, if it wrote that down."""
    try:
        with open(path, "rb") as file:
            number = file.read(_MOST_DIGITS).strip()
    except OSError:
        return ""
    return f" (process {number.decode()})" if number.isdigit() else ""
