"""What the embedded Triton needs of this machine, each a check with its remedy. Starts no Triton."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from converter.errors import RuntimeMissing
from converter.schema import triton_key
from schwift.triton import sealed_start

_GLIBC = (2, 35)
_SHM_BYTES = 64 * 1024 * 1024
# Version and release that nvidia-pytriton 0.7.0 brings.
NEWEST_TRITON = "2.51.0", "24.10"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_PROBE_SECONDS = 30
# Says whether it does not show its key, and whether its memory stays its own.
_SEALED_PROGRAM = """
import os, sys
with open("/proc/self/cmdline", "rb") as file:
    print(sys.argv[1].encode() not in file.read())
with open(sys.argv[2], "w") as file:
    os.fchmod(file.fileno(), 0o644)
    print(os.fstat(file.fileno()).st_mode & 0o777 == 0o600)
"""


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is well, and what is said of it; a `note` is well, and worth knowing."""

    what: str
    ok: bool
    said: str
    note: bool = False


@dataclass(frozen=True)
class Installation:
    """Where the parts of the embedded Triton are. `libpython` is None if the loader finds it by itself."""

    server: Path
    python_backend: Path
    stub: Path
    caches: Path
    libpython: Path | None


def locate() -> Installation:
    """Find the parts of the embedded Triton. Raises RuntimeMissing with one sentence and its remedy."""
    _glibc()
    root = _wheel()
    return Installation(
        server=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=_stub(root),
        caches=root / "caches",
        libpython=_libpython(),
    )


def examine() -> list[Check]:
    """Make every check, whether or not an earlier one failed."""
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("glibc", _glibc),
        ("Triton's wheel", _wheel),
        ("Python stub", lambda: _stub(_wheel())),
        ("libpython", lambda: _libpython() or "found by the system's loader"),
        ("numpy", _numpy),
        ("onnxruntime", lambda: _version("onnxruntime")),
        ("shared memory", _shared_memory),
    )
    return [*(_run(what, check) for what, check in checks), _age(), _sealing()]


class Sealing(NamedTuple):
    """What other users do not see: the key of Triton's control, and the rows of clients in its shared memory."""

    key: bool
    memory: bool


def probe_sealing() -> Sealing:
    """Start a small program sealed, and see what it shows."""
    with tempfile.TemporaryDirectory(prefix="schwift-doctor-") as name:
        key_file = Path(name, "key")
        triton_key.ensure(key_file)
        command = [sys.executable, "-I", sealed_start.__file__, str(key_file)]
        command += [sys.executable, "-I", "-c", _SEALED_PROGRAM, sealed_start.KEY, str(Path(name, "file"))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, stdin=subprocess.DEVNULL)
    words = done.stdout.split()
    return Sealing(*(word == "True" for word in words)) if len(words) == 2 else Sealing(False, False)


def _run(what: str, check: Callable[[], object]) -> Check:
    try:
        return Check(what, True, str(check()))
    except RuntimeMissing as error:
        return Check(what, False, str(error))


def _age() -> Check:
    version, release = NEWEST_TRITON
    return Check(
        "Triton's age", True,
        f"{version} (release {release}) is the newest that PyPI has, and behind on security patches: those of 2026 "
        "came with 26.07. `schwift serve` keeps it on 127.0.0.1 with its control shut; let nobody else reach it. The "
        "container of NVIDIA is newer (deploy/compose.nvidia.yml)",
        note=True,
    )  # fmt: skip


def _sealing() -> Check:
    sealing = probe_sealing()
    open_to_others = []
    if not sealing.key:
        open_to_others.append("the key of Triton's control, on its command line (no process may trace another here)")
    if not sealing.memory:
        open_to_others.append("the shared memory with clients' rows (this kernel has no seccomp filters)")
    if open_to_others:
        said = f"other users of this machine can read {', and '.join(open_to_others)}"
        return Check("privacy", True, said, note=True)
    return Check("privacy", True, "other users of this machine read neither Triton's key nor its shared memory")


def _glibc() -> str:
    name = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    parts = (name or "").split()
    if len(parts) != 2:
        raise RuntimeMissing(f"this is {platform.system()} without glibc: use the container (docker compose up)")
    version = tuple(int(part) for part in parts[1].split(".")[:2])
    if version < _GLIBC:
        raise RuntimeMissing(
            f"glibc is {parts[1]} and Triton needs {_GLIBC[0]}.{_GLIBC[1]}: use Debian 12, Ubuntu 22.04 or newer, "
            "or the container (docker compose up)"
        )
    return parts[1]


def _wheel() -> Path:
    # Not imported: the package pulls in much that is not needed here.
    spec = importlib.util.find_spec("pytriton")
    root = Path(spec.origin).parent / "tritonserver" if spec and spec.origin else None
    if root is None or not (root / "bin" / "tritonserver").is_file():
        raise RuntimeMissing("Triton's wheel is not installed: pip install nvidia-pytriton==0.7.0")
    return root


def _stub(root: Path) -> Path:
    stub = root / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub"
    if not stub.is_file():
        there = ", ".join(sorted(path.name for path in stub.parent.parent.glob("*"))) or "none"
        raise RuntimeMissing(f"Triton has no stub for Python {_PYTHON}, only for {there}: use one of these")
    return stub


def _libpython() -> Path | None:
    """Find the folder that LD_LIBRARY_PATH needs; None if the system's loader finds the library alone."""
    name = f"libpython{_PYTHON}.so.1.0"
    multiarch = sysconfig.get_config_var("MULTIARCH")
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib", multiarch and f"/usr/lib/{multiarch}"):
        if folder and Path(folder, name).is_file():
            return Path(folder)
    try:
        ctypes.CDLL(name)
    except OSError as error:
        raise RuntimeMissing(
            f"{name} is missing, and Triton's Python models need it: apt-get install libpython{_PYTHON}, or build "
            "Python with --enable-shared"
        ) from error
    return None


def _numpy() -> str:
    version = _version("numpy")
    if int(version.split(".")[0]) >= 2:
        raise RuntimeMissing(f"numpy is {version}, with which this Triton corrupts tensors: pip install 'numpy<2'")
    return version


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise RuntimeMissing(f"{package} is not installed: pip install {package}") from error


def _shared_memory() -> str:
    try:
        stats = os.statvfs("/dev/shm")
    except OSError as error:
        raise RuntimeMissing("/dev/shm is not there, and Triton's Python models need it: mount a tmpfs") from error
    free = stats.f_bavail * stats.f_frsize
    if free < _SHM_BYTES:
        raise RuntimeMissing(
            f"/dev/shm has {free >> 20} MiB free, and Triton's Python models need {_SHM_BYTES >> 20}: enlarge it "
            "(docker: --shm-size)"
        )
    return f"{free >> 20} MiB free"
