"""The engine, which is Triton's binaries: where they are, and for which Pythons they have a stub.

They are unpacked from a wheel into the cache (engine_wheel.py), or lie in a folder that SCHWIFT_ENGINE names: a copy of
that folder, its `tritonserver`, or the /opt/tritonserver of NVIDIA's images.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from converter.environments import engine_wheel
from converter.environments.engine_wheel import Say
from converter.environments.folder_lock import lock_folder
from converter.errors import RuntimeMissing
from converter.schema.settings import Settings

_STUB = "triton_python_backend_stub"
# A stub names its Python only in the library that it asks the loader for.
_LIBPYTHON = re.compile(rb"libpython(3\.\d+)\.so\.1\.0")


@dataclass(frozen=True)
class Engine:
    """A Triton on this machine. `stubs` has the Python backend's program for each Python ("3.12")."""

    folder: Path
    triton: Path
    version: str
    stubs: Mapping[str, Path]
    libraries: Path | None


def find_engine(settings: Settings) -> Engine | None:
    """Find the engine that is there, and install none.

    Raises RuntimeMissing if the folder that SCHWIFT_ENGINE names has no Triton.
    """
    if settings.engine is None:
        return _read(_cached(settings))
    found = _read(settings.engine)
    if found is None:
        raise RuntimeMissing(
            f"SCHWIFT_ENGINE: {settings.engine} has no bin/tritonserver with backends/python, nor has "
            "pytriton/tritonserver in it: name a folder that has, or unset it, and the wheel's Triton is installed"
        )
    return found


def ensure_engine(settings: Settings, say: Say, wheel: Path | None = None) -> Engine:
    """Find the engine, and install it into the cache if there is none; one process at a time does.

    Raises RuntimeMissing with one sentence and its remedy.
    """
    found = find_engine(settings)
    if found is not None:
        return found
    target = _cached(settings)
    with lock_folder(target.parent, say):
        # Whoever had the lock may have installed it.
        if _read(target) is None:
            engine_wheel.install(target, say, wheel)
    found = _read(target)
    assert found is not None
    return found


def remove_engine(settings: Settings, say: Say) -> Path | None:
    """Remove the engine from the cache and return its folder; None if there is none.

    Raises RuntimeMissing if SCHWIFT_ENGINE names a folder, which is not ours to remove.
    """
    if settings.engine is not None:
        raise RuntimeMissing(
            f"SCHWIFT_ENGINE names {settings.engine}, which schwift did not install: remove it yourself, or unset "
            "SCHWIFT_ENGINE to remove the one in the cache"
        )
    target = _cached(settings)
    if not target.is_dir():
        return None
    with lock_folder(target.parent, say):
        try:
            shutil.rmtree(target)
        except OSError as error:
            raise RuntimeMissing(f"{target} could not be removed: {error.strerror}") from error
    return target


def _cached(settings: Settings) -> Path:
    return settings.cache_directory / "engine" / engine_wheel.VERSION


def _read(folder: Path) -> Engine | None:
    for triton in (folder / "pytriton" / "tritonserver", folder):
        if (triton / "bin" / "tritonserver").is_file() and (triton / "backends" / "python").is_dir():
            # Where the RPATHs of the wheel's files look.
            libraries = triton.parent.parent / "nvidia_pytriton.libs"
            return Engine(folder, triton, _version(triton), _stubs(triton), libraries if libraries.is_dir() else None)
    return None


def _version(triton: Path) -> str:
    """Read the version from where NVIDIA's images have it, and the wheel's after installation."""
    try:
        return (triton / "TRITON_VERSION").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "of unknown version"


def _stubs(triton: Path) -> Mapping[str, Path]:
    found = {path.parent.name: path for path in (triton / "python_backend_stubs").glob(f"3.*/{_STUB}")}
    single = triton / "backends" / "python" / _STUB
    if single.is_file():
        name = _LIBPYTHON.search(single.read_bytes())
        if name is not None:
            found.setdefault(name[1].decode(), single)
    return dict(sorted(found.items(), key=lambda item: int(item[0].split(".")[1])))
