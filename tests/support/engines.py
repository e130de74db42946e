"""Made-up engines, in their folder or in a wheel: the right names, and no Triton."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from converter.environments import engine_wheel

_STUBS = "pytriton/tritonserver/python_backend_stubs"
_STUB = "triton_python_backend_stub"


def stub_of(engine: Path, python: str) -> Path:
    return engine / _STUBS / python / _STUB


def files(*pythons: str) -> dict[str, int]:
    """The files of an engine, with their modes in the real wheel."""
    return {
        "pytriton/tritonserver/bin/tritonserver": 0o777,
        "pytriton/tritonserver/backends/python/libtriton_python.so": 0o666,
        "pytriton/tritonserver/caches/local/libtritoncache_local.so": 0o666,
        "nvidia_pytriton.libs/libb64.so": 0o644,
        **{f"{_STUBS}/{python}/{_STUB}": 0o755 for python in pythons},
    }


def write_engine(folder: Path, *pythons: str) -> None:
    """Write an engine as it is after its installation."""
    for name in files(*pythons):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "pytriton" / "tritonserver" / "TRITON_VERSION").write_text("2.51.0\n")


def write_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Path:
    """Write a wheel with an engine, Python code, and `more` files; from now on it is the one that is expected."""
    name, version = engine_wheel.WHEEL.replace("-", "_").split("==")
    info = f"{name}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, mode in files("3.11", "3.12").items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, file)
        archive.writestr("pytriton/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: nvidia-pytriton\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for file in more:
            archive.writestr(file, "")
    monkeypatch.setattr(engine_wheel, "SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    return wheel
