"""Has pip fill an environment that has no pip itself, and says in a line or two why it could not."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from converter.errors import EnvironmentProblem

# The first with the option --python.
_OLDEST_PIP = (22, 3)
_MOST_LINES = 3
_MOST_LENGTH = 300
_NETWORK = ("connection broken by", "Failed to establish a new connection", "Temporary failure in name resolution")

Say = Callable[[str], None]
Reason = Literal["network", "versions", "other"]


class PipFailed(Exception):
    """Pip installed nothing: the index cannot be reached, no versions fit, or something else."""

    def __init__(self, reason: Reason, said: str) -> None:
        super().__init__(said)
        self.reason = reason


def make_venv(python: Path, folder: Path, with_pip: bool = False) -> None:
    """Make a venv of a Python. Raises EnvironmentProblem with what it says if it cannot."""
    command = [str(python), "-I", "-m", "venv", *([] if with_pip else ["--without-pip"]), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=_make_variables())
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason"]
        raise EnvironmentProblem(
            f"{python} makes no venv: {said[-1]}: install its venv package (apt-get install python3-venv)"
        )


def install(lines: Sequence[str], venv: Path, python: Path, scratch: Path, options: Sequence[str], say: Say) -> None:
    """Install requirements into a venv of this Python; wheels alone. Raises PipFailed and EnvironmentProblem."""
    with _find_pip(python, scratch) as pip, tempfile.TemporaryDirectory(dir=scratch) as unpacked:
        listed = Path(unpacked, "requirements.txt")
        listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        _run_pip(
            [*pip, "--python", str(venv), "install", "--only-binary", ":all:", *options, "--requirement", str(listed)],
            unpacked, say,
        )  # fmt: skip


@contextlib.contextmanager
def _find_pip(python: Path, scratch: Path) -> Iterator[list[str]]:
    """Find the pip of our own Python if it is of the same version, else have the other's make one for a while."""
    ours = Path(sys.prefix, "bin") == python.parent
    if ours and _has_pip():
        yield [sys.executable, "-I", "-m", "pip"]
        return
    # Not ours for another Python: an old pip does not run in a new one.
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        make_venv(python, Path(name), with_pip=True)
        pip = [str(Path(name, "bin", "python3")), "-I", "-m", "pip"]
        version = subprocess.run([*pip, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
        if _parse_version(version.removeprefix("pip ")) < _OLDEST_PIP:
            _run_pip([*pip, "install", "--upgrade", "pip"], name, lambda line: None)
        yield pip


def _has_pip() -> bool:
    try:
        return _parse_version(importlib.metadata.version("pip")) >= _OLDEST_PIP
    except importlib.metadata.PackageNotFoundError:
        return False


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def _run_pip(command: Sequence[str], unpacked: str, say: Say) -> None:
    command = [*command, "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"]
    # Wheels are unpacked beside the environment, since /tmp is small in containers.
    variables = {**_make_variables(), "TMPDIR": unpacked, "PIP_USER": "0"}
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line.rstrip())
                if re.match(r"\s*(Collecting|Downloading|Installing) ", line):
                    say(f"  {line.strip().split(' (from ')[0][:_MOST_LENGTH]}")
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise PipFailed(*_explain(said))


def _make_variables() -> dict[str, str]:
    """Keep from pip what would have it see other packages than the environment's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _explain(said: Sequence[str]) -> tuple[Reason, str]:
    """Find what matters to the user in pip's words."""
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    if any(word in line for line in said for word in _NETWORK):
        return "network", (
            "the index of packages cannot be reached: build where it can, or let PIP_FIND_LINKS name a folder of wheels"
        )
    if any("conflicting dependencies" in line for line in errors):
        causes = [line.strip() for line in said if re.match(r" {4}\S.* depends on | {4}The user requested", line)]
        return "versions", f"the requirements contradict each other ({'; '.join(causes[:_MOST_LINES])})"
    for line in errors:
        missing = re.match(
            r"Could not find a version that satisfies the requirement (.*?) \(from versions: (.*)\)", line
        )
        if missing:
            wanted = missing[1].split(" (from ")[0]
            there = [version for version in missing[2].split(", ") if version != "none"]
            newest = (
                f"the newest that there are: {', '.join(there[-_MOST_LINES:])}" if there else "there is none at all"
            )
            return "versions", f"the index has no wheel of {wanted} for this Python ({newest})"
    text = "; ".join(errors[:_MOST_LINES]) or next((line for line in reversed(said) if line), "no reason given")
    return "other", text[:_MOST_LENGTH]
