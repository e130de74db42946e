"""Changes of the file of API keys: one at a time, and each whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from converter.errors import ConfigError
from converter.schema.keys_file import ApiKey, KeysFile, read_keys

Keys = tuple[ApiKey, ...]


def add_key(path: Path, new: ApiKey) -> None:
    """Add a key. ConfigError if the name is taken."""

    def add(keys: Keys) -> Keys:
        if any(known.name == new.name for known in keys):
            raise ConfigError(f"{path}: there is a key {new.name}: choose another name, or revoke it first")
        return (*keys, new)

    _change(path, add)


def revoke_key(path: Path, name: str) -> None:
    """ConfigError if there is none of that name."""

    def revoke(keys: Keys) -> Keys:
        left = tuple(key for key in keys if key.name != name)
        if len(left) == len(keys):
            raise ConfigError(f"{path}: there is no key {name}: `schwift keys list` shows those that are")
        return left

    _change(path, revoke)


def _change(path: Path, change: Callable[[Keys], Keys]) -> None:
    # A link stays one.
    path = path.resolve()
    try:
        with _locked(path):
            keys = read_keys(path) if path.exists() else ()
            _write(path, KeysFile(keys=change(keys)))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}: choose another (--file)") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for the turn of this process. The folder is what is locked, since the file is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: KeysFile) -> None:
    """In one atomic step, readable for the owner alone."""
    # mkstemp makes it with mode 600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(content.model_dump_json(indent=1, exclude_none=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            _keep_owner(path, name)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _keep_owner(path: Path, name: str) -> None:
    """Let the file belong to whom it did: a key that root adds must not take it from the user who serves."""
    before = path.stat()
    if os.geteuid() == 0 and before.st_uid != 0:
        os.chown(name, before.st_uid, before.st_gid)
