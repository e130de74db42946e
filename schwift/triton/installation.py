"""What the embedded Triton needs of this machine, each a check with its remedy. Starts no Triton."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from converter.environments import engine_wheel, fronts
from converter.environments.describe_python import find_libpython
from converter.environments.engine import Engine, ensure_engine, find_engine
from converter.environments.model_environment import find_serving_environment, format_packages
from converter.errors import EnvironmentProblem, RuntimeMissing
from converter.schema import triton_key
from converter.schema.settings import Settings
from schwift.triton import sealed_start

_GLIBC = (2, 35)
_SHM_BYTES = 64 * 1024 * 1024
# Version and release that the wheel brings.
NEWEST_TRITON = engine_wheel.VERSION, "24.10"
# Libraries that models may need, by their distribution, with the extra of ours that brings each.
_LIBRARIES = {
    "scikit-learn": "sklearn",
    "joblib": "sklearn",
    "onnxruntime": "onnx",
    "numba": "numba",
    "torch": "torch",
}
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
    """Where the parts of the embedded Triton are.

    `libpython` is this interpreter's, None if the loader finds it by itself. `stubs` has the stub of each Python
    ("3.12").
    """

    server: Path
    python_backend: Path
    caches: Path
    libpython: Path | None
    stubs: Mapping[str, Path]


def say_on_stdout(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


def locate(settings: Settings) -> Installation:
    """Find the parts of the embedded Triton, which is installed now if there is none.

    Raises RuntimeMissing with one sentence and its remedy.
    """
    _glibc()
    engine = ensure_engine(settings, say_on_stdout)
    _stub(engine)
    return Installation(
        server=engine.triton / "bin" / "tritonserver",
        python_backend=engine.triton / "backends" / "python",
        caches=engine.triton / "caches",
        libpython=_libpython(),
        stubs=engine.stubs,
    )


def examine(settings: Settings) -> list[Check]:
    """Make every check, whether or not an earlier one failed; installs nothing."""
    try:
        engine = find_engine(settings)
        about_engine = [_engine(settings, engine)]
    except RuntimeMissing as error:
        engine, about_engine = None, [Check("engine", False, str(error))]
    if engine is not None:
        about_engine.append(_run("Python stub", lambda: _stub(engine)))
    return [
        _run("glibc", _glibc),
        *about_engine,
        _run("libpython", lambda: _libpython() or "found by the system's loader"),
        _run("numpy", lambda: _version("numpy")),
        *_fronts(settings),
        *([_run("models' environment", lambda: _model_env(settings))] if settings.model_env else []),
        *(_library(name, extra) for name, extra in _LIBRARIES.items()),
        _run("shared memory", _shared_memory),
        *([_age()] if engine is None or engine.version == engine_wheel.VERSION else []),
        _sealing(),
    ]


def _model_env(settings: Settings) -> str:
    found = find_serving_environment(settings)
    return f"{found.interpreter.prefix}, {format_packages(found, ('numpy', 'scikit-learn'))}"


def _fronts(settings: Settings) -> list[Check]:
    """Look at where fronts run, if that is not schwift's own environment."""
    if fronts.is_own_enough():
        return []
    found = fronts.find_fronts(settings)
    if found is not None:
        return [Check("fronts", True, f"run in {found}")]
    later = "an environment with numpy 1 is made at the first serve, or by `schwift engine install`"
    return [Check("fronts", True, later if fronts.can_be_had(settings) else fronts.WITHOUT_STRINGS, note=True)]


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
    except (RuntimeMissing, EnvironmentProblem) as error:
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


def _engine(settings: Settings, engine: Engine | None) -> Check:
    if engine is None:
        return Check(
            "engine", True,
            f"Triton {engine_wheel.VERSION} is not in {settings.cache_directory} yet: `schwift serve` installs it at "
            "first, and `schwift engine install` does so now",
            note=True,
        )  # fmt: skip
    return Check("engine", True, f"Triton {engine.version} in {engine.folder}")


def _stub(engine: Engine) -> Path:
    stub = engine.stubs.get(_PYTHON)
    if stub is None:
        there = ", ".join(engine.stubs) or "none"
        raise RuntimeMissing(f"Triton has no stub for Python {_PYTHON}, only for {there}: use one of these")
    return stub


def _library(name: str, extra: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, True, f"not installed; models that need it: pip install 'schwift[{extra}]'", note=True)


def _libpython() -> Path | None:
    """Find the folder that LD_LIBRARY_PATH needs; None if the system's loader finds the library alone."""
    found = find_libpython()
    if found is None:
        raise RuntimeMissing(
            f"libpython{_PYTHON}.so.1.0 is missing, and Triton's Python models need it: apt-get install "
            f"libpython{_PYTHON}, or build Python with --enable-shared"
        )
    return Path(found) if found else None


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
