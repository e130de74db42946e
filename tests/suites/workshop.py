"""Where other people's suites come from: environments, packages and checkouts, kept in a cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support.servers.server import ROOT

PROGRAMS = Path(__file__).parent / "programs"


class NotReachable(Exception):
    """What a suite needs can't be fetched from here; the text says what, and how to have it."""


@dataclass(frozen=True)
class Workshop:
    """A cache folder, and a folder of checkouts that somebody brought (may be None)."""

    cache: Path
    sources: Path | None = None

    def environment(self, name: str, *packages: str) -> Path:
        """Return the folder of programs of a venv with these packages; it is made once."""
        told = "\n".join((sys.version, *packages))
        folder = self.cache / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        if not (folder / "made").exists():
            run([sys.executable, "-m", "venv", "--clear", folder])
            pip = [folder / "bin" / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            _fetch(f"packages {', '.join(packages)}", [*pip, *packages])
            (folder / "made").touch()
        return folder / "bin"

    def checkout(self, repository: str, commit: str, path: str) -> Path:
        """Return what a folder or file of a repository on GitHub (`owner/name`) is at a commit.

        Taken from `<sources>/<name>`, a clone or a bare mirror, if that is there.
        """
        name = repository.rpartition("/")[2]
        folder = self.cache / f"{name}-{commit[:8]}"
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            own = self.sources / name if self.sources else None
            if own is None or not own.exists():
                own = folder / "fetched"
                run(["git", "init", "-q", "--bare", own])
                address = f"https://github.com/{repository}"
                what = f"{repository} at {commit} (or bring a clone as DIR/{name}, with --sources DIR)"
                _fetch(what, ["git", "-C", own, "fetch", "-q", "--depth", "1", address, commit])
            # A mirror may lack large files: no more is read than is wanted.
            run(["git", "-C", own, "archive", "--output", folder / "made.tar", commit, path])
            with tarfile.open(folder / "made.tar") as archive:
                archive.extractall(folder, filter="data")
            (folder / "made.tar").unlink()
            (folder / "made").touch()
        return folder / path

    def program(self, command: str, package: str) -> str:
        """Return the path of a program, which Debian's package is installed for if it is not there."""
        if shutil.which(command) is None:
            self.debian(package)
        found = shutil.which(command)
        if found is None:
            raise NotReachable(f"{command} is not on this machine: apt-get install {package}")
        return found

    def debian(self, package: str) -> None:
        """Install a package; a user other than root is told to do so."""
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise NotReachable(f"Debian's {package} is missing: apt-get install {package}")
        command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", package]
        if run(command, check=False).returncode:
            _fetch("Debian's lists of packages", ["apt-get", "update", "-qq"])
            _fetch(f"Debian's {package}", command)


def run(
    command: Sequence[object], check: bool = True, seconds: float = 300, cwd: Path = ROOT,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run it with all its output taken; raise AssertionError with that if it fails and should not."""
    try:
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{command[0]} did not end within {seconds:.0f} s") from error
    assert not check or done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done


def _fetch(what: str, command: Sequence[object]) -> None:
    done = run(command, check=False, environment={"GIT_TERMINAL_PROMPT": "0", "DEBIAN_FRONTEND": "noninteractive"})
    if done.returncode:
        last = done.stdout.strip().rpartition("\n")[2]
        raise NotReachable(f"can't fetch {what}: {last}")
