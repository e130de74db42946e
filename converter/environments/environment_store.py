"""The environments that models have of their own: plain venvs in the cache, each made once and found by its content.

    <root>/<key>/                   a venv; the key is the hash of its packages, its Python and the platform
    <root>/<key>/requirements.lock  its packages, a line each
    <root>/<key>/requirements.txt   what was asked for
    <root>/<key>/launch             its Python ("3.12"), its prefix, and the folder for LD_LIBRARY_PATH, or nothing
    <root>/index/<request>          the key that a request led to: the hash of requirements, Python and platform

An environment is made in a folder of another name and renamed, so that one that is there is complete.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from converter.environments.folder_lock import lock_folder
from converter.environments.interpreter import examine_interpreter
from converter.environments.lock_file import hash_lock, hash_request, is_key, list_lacking
from converter.environments.pip_install import install, make_venv
from converter.errors import EnvironmentProblem, RuntimeMissing
from converter.schema.requirement import name_of

Say = Callable[[str], None]

_MAKING = ".making-"
_INDEX = "index"
_MIB = 1024 * 1024


@dataclass(frozen=True)
class StoredEnvironment:
    """An environment of the store; `size` is in bytes, `usable` false if its Python is gone."""

    key: str
    python: str
    requirements: tuple[str, ...]
    size: int
    usable: bool


class EnvironmentStore:
    """The environments below one folder, which need not be there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str) -> Path | None:
        """Return the prefix of an environment; None if there is none, it was moved, or its Python is gone."""
        prefix = self.root / key
        if not is_key(key) or not os.access(prefix / "bin" / "python3", os.X_OK):
            return None
        said = _read_lines(prefix / "launch")
        if len(said) != 3 or (said[2] and not Path(said[2]).is_dir()):
            return None
        # The launcher goes by what is written there.
        return prefix if Path(said[1]).is_dir() and prefix.samefile(said[1]) else None

    def look_up(self, lines: Sequence[str], python: str, lock: Sequence[str]) -> str | None:
        """Return the key of what was made of such a request, or of this lock, if it is usable; starts nothing."""
        noted = _read_lines(self.root / _INDEX / hash_request(lock or lines, python))
        keys = [hash_lock(lock, python), *noted] if lock else noted
        return next((key for key in keys if self.find(key) is not None), None)

    def find_fitting(self, lines: Sequence[str], python: str) -> str | None:
        """Return the key of a usable environment that has what these requirements name, whatever it was made for."""
        for key in sorted(path.name for path in self._folders()):
            fits = not list_lacking(lines, self.read_lock(key))
            if fits and _read_lines(self.root / key / "launch")[:1] == (python,) and self.find(key) is not None:
                return key
        return None

    def read_lock(self, key: str) -> tuple[str, ...]:
        """Return the packages of an environment, as `name==version`."""
        return _read_lines(self.root / key / "requirements.lock")

    def build(
        self, lines: Sequence[str], python: tuple[str, Path], lock: Sequence[str], say: Say
    ) -> tuple[str, tuple[str, ...]]:
        """Make an environment of these requirements, or of their lock, unless it is there; return its key and its lock.

        `python` is a version and an executable, of `find_pythons`. numpy comes along, which the runtime needs. Raises
        PipFailed, and EnvironmentProblem if a folder cannot be written or the Python makes no venv.
        """
        version, executable = python
        key = self.look_up(lines, version, lock)
        if key is None:
            with self._change(say):
                # Another build may have made it meanwhile.
                key = self.look_up(lines, version, lock) or self._make(lines, version, executable, lock, say)
        return key, self.read_lock(key)

    def list_all(self) -> Iterator[StoredEnvironment]:
        """List the environments, in the order of their keys."""
        for key in sorted(path.name for path in self._folders()):
            folder = self.root / key
            python = (_read_lines(folder / "launch") or ("?",))[0]
            usable = self.find(key) is not None
            yield StoredEnvironment(key, python, _read_lines(folder / "requirements.txt"), _measure(folder), usable)

    def prune(self, find_used: Callable[[], Container[str]], say: Say) -> list[StoredEnvironment]:
        """Remove the environments whose keys are not among the used ones, and return them.

        `find_used` is asked while nobody makes another environment.
        """
        with self._change(say):
            used = find_used()
            unused = [environment for environment in self.list_all() if environment.key not in used]
            for environment in unused:
                self._remove(environment.key)
            for noted in (self.root / _INDEX).glob("*"):
                if not any((self.root / key).exists() for key in _read_lines(noted)):
                    noted.unlink()
        return unused

    def _folders(self) -> list[Path]:
        return [path for path in self.root.glob("*") if is_key(path.name)]

    @contextmanager
    def _change(self, say: Say) -> Iterator[None]:
        """Keep other changes waiting, and remove what one left that was killed."""
        try:
            with lock_folder(self.root, say):
                for left in self.root.glob(f"{_MAKING}*"):
                    shutil.rmtree(left, ignore_errors=True)
                yield
        except RuntimeMissing as error:
            raise EnvironmentProblem(
                f"{error} (with docker: `docker compose run --rm environments`, which can write)"
            ) from error
        except OSError as error:
            raise EnvironmentProblem(f"{self.root}: no environment could be made: {error.strerror}") from error

    def _make(self, lines: Sequence[str], version: str, executable: Path, lock: Sequence[str], say: Say) -> str:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=self.root, prefix=_MAKING, ignore_cleanup_errors=True) as making:
            venv = Path(making, "venv")
            make_venv(executable, venv)
            wanted = [*lines, *([] if "numpy" in map(name_of, lines) else ["numpy"])]
            # A lock is whole: what its packages ask for is in it.
            install(lock or wanted, venv, executable, Path(making), ["--no-deps"] if lock else [], say)
            found = examine_interpreter(venv, bare=True)
            resolved = tuple(sorted(f"{name}=={number}" for name, number in found.packages.items()))
            key = hash_lock(resolved, version)
            _write_lines(venv / "requirements.lock", resolved)
            _write_lines(venv / "requirements.txt", lines)
            _write_lines(venv / "launch", (version, str(self.root / key), str(found.libpython or "")))
            # Equal packages may have been made for others, who use them.
            if self.find(key) is None:
                self._remove(key)
                venv.rename(self.root / key)
        (self.root / _INDEX).mkdir(exist_ok=True)
        for request in (lines, *([lock] if lock else [])):
            _write_lines(self.root / _INDEX / hash_request(request, version), (key,))
        say(f"  made in {time.monotonic() - began:.0f} s, {_measure(self.root / key) // _MIB} MiB")
        return key

    def _remove(self, key: str) -> None:
        """Take an environment away in one step, and then apart."""
        if (self.root / key).exists():
            gone = Path(tempfile.mkdtemp(dir=self.root, prefix=_MAKING))
            (self.root / key).rename(gone / key)
            shutil.rmtree(gone, ignore_errors=True)


def _read_lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return ()


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _measure(folder: Path) -> int:
    """Count the bytes on the disk of all files below a folder."""
    return sum(
        os.lstat(os.path.join(where, name)).st_blocks * 512 for where, _, files in os.walk(folder) for name in files
    )
