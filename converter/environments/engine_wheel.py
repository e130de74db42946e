"""From the wheel that carries Triton's binaries to a folder that has them.

The wheel's metadata asks for numpy < 2 on behalf of Python code that is not used here, so it is never installed: pip
downloads it, and what is needed of it is unpacked.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

from converter.errors import RuntimeMissing

VERSION = "2.51.0"
WHEEL = "nvidia-pytriton==0.7.0"
SHA256 = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
# A finished folder has its own name; what a killed installation left has this one, and the next removes it.
PARTIAL = "partial-"
_NEEDED = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")
_REMEDY = (
    f"download it where there is a network (pip download --no-deps {WHEEL}) and give it to "
    "`schwift engine install --wheel PATH`, or let SCHWIFT_ENGINE name a folder that has a Triton"
)
_CHUNK_BYTES = 1 << 20
_TITLE = f"Triton {VERSION}"

Say = Callable[[str], None]


def install(target: Path, say: Say, wheel: Path | None = None) -> None:
    """Unpack the wheel, which pip downloads if none is given, into `target`; the caller has the lock of its parent.

    Raises RuntimeMissing with one sentence and its remedy, and leaves nothing.
    """
    try:
        for left in target.parent.glob(f"{PARTIAL}*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=target.parent) as name:
            if wheel is None:
                say(f"{_TITLE}: downloading, once (55 MB)")
                wheel = _download(Path(name))
            _check(wheel)
            say(f"{_TITLE}: unpacking")
            unpacked = Path(name, "engine")
            _unpack(wheel, unpacked)
            if target.exists():
                # Somebody took files out of it.
                shutil.rmtree(target)
            unpacked.rename(target)
    except OSError as error:
        remedy = "make room, or name" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name"
        raise RuntimeMissing(
            f"{_TITLE} could not be installed in {target}: {error.strerror or error}: {remedy} another folder "
            "(SCHWIFT_CACHE)"
        ) from error
    say(f"{_TITLE}: in {target}")


def _download(folder: Path) -> Path:
    """Have pip download the wheel; it looks where its configuration and PIP_* variables say.

    The version of Python is one that the wheel knows, since none of its Python code will run.
    """
    command = [*_find_pip(folder), "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", "3.11", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or not found:
        raise RuntimeMissing(f"{_TITLE} could not be downloaded: {_read_reason(done.stderr)}: {_REMEDY}")
    return found[0]


def _read_reason(output: str) -> str:
    """Return the last error of pip's output."""
    lines = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    return lines[-1].rstrip(".:") if lines else "pip failed"


def _find_pip(folder: Path) -> list[str]:
    """Return the command of this interpreter's pip, or of one in a venv of its own where it has none."""
    own = [sys.executable, "-I", "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, stdin=subprocess.DEVNULL).returncode == 0:
        return own
    try:
        venv.create(folder / "pip", with_pip=True)
    except (subprocess.CalledProcessError, ImportError) as error:
        raise RuntimeMissing(
            f"{_TITLE} could not be downloaded, since {sys.executable} has neither pip nor ensurepip: {_REMEDY}"
        ) from error
    return [str(folder / "pip" / "bin" / "python"), "-I", "-m", "pip"]


def _check(wheel: Path) -> None:
    """Raise RuntimeMissing if it is not the wheel that is meant."""
    digest = hashlib.sha256()
    try:
        with open(wheel, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise RuntimeMissing(f"{wheel} cannot be read: {error.strerror}: name a wheel of {WHEEL}") from error
    if digest.hexdigest() != SHA256:
        raise RuntimeMissing(
            f"{wheel.name} is not the wheel of {WHEEL} for this processor: its sha256 is {digest.hexdigest()} and not "
            f"{SHA256}: {_REMEDY}"
        )


def _unpack(wheel: Path, folder: Path) -> None:
    """Unpack what is needed, with rights that do not depend on the umask.

    No file leaves the folder: `extract` drops a root and each `..` from its name, and makes no links.
    """
    folder.mkdir()
    executables = set()
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(_NEEDED):
                path = Path(archive.extract(entry, folder))
                if entry.external_attr >> 16 & 0o111:
                    executables.add(path)
    (folder / "pytriton" / "tritonserver" / "TRITON_VERSION").write_text(f"{VERSION}\n", encoding="ascii")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in executables else 0o644)
