"""What the embedded Triton needs: each missing piece gives its one sentence, with the remedy."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from converter.errors import RuntimeMissing
from schwift.triton import installation
from schwift.triton.installation import Sealing, examine, locate

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has everything; returns the wheel's tritonserver folder."""
    root = tmp_path / "pytriton" / "tritonserver"
    for name in ("bin/tritonserver", f"python_backend_stubs/{PYTHON}/triton_python_backend_stub", "caches/x"):
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text("")
    library = tmp_path / "lib" / f"libpython{PYTHON}.so.1.0"
    library.parent.mkdir()
    library.write_text("")
    spec = SimpleNamespace(origin=str(tmp_path / "pytriton" / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "pytriton" else None)
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(library.parent) if name == "LIBDIR" else None)
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setattr(metadata, "version", {"numpy": "1.26.4", "onnxruntime": "1.23.2"}.__getitem__)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=64 * 256, f_frsize=4096))
    return root


def said(what: str) -> str:
    """The sentence of the one check that failed."""
    failed = [check for check in examine() if not check.ok]
    assert [check.what for check in failed] == [what]
    return failed[0].said


def test_machine_that_has_everything_passes_every_check(machine: Path) -> None:
    *checks, age, privacy = examine()
    assert [(check.what, check.ok, check.said) for check in checks] == [
        ("glibc", True, "2.36"),
        ("Triton's wheel", True, str(machine)),
        ("Python stub", True, str(machine / "python_backend_stubs" / PYTHON / "triton_python_backend_stub")),
        ("libpython", True, str(machine.parents[1] / "lib")),
        ("numpy", True, "1.26.4"),
        ("onnxruntime", True, "1.23.2"),
        ("shared memory", True, "64 MiB free"),
    ]
    # The old Triton is no fault of the machine.
    assert (age.what, age.ok, age.note) == ("Triton's age", True, True)
    assert age.said.startswith("2.51.0 (release 24.10)") and "behind on security patches" in age.said
    assert (privacy.ok, privacy.note) == (True, False)


@pytest.mark.parametrize(
    ("sealing", "words"),
    [
        (Sealing(False, True), ["the key of Triton's control"]),
        (Sealing(True, False), ["clients' rows"]),
        (Sealing(False, False), ["the key of Triton's control", "clients' rows"]),
    ],
)
def test_what_others_can_read_is_said_and_fails_nothing(
    machine: Path, monkeypatch: pytest.MonkeyPatch, sealing: Sealing, words: list[str]
) -> None:
    monkeypatch.setattr(installation, "probe_sealing", lambda: sealing)
    privacy = examine()[-1]
    assert (privacy.what, privacy.ok, privacy.note) == ("privacy", True, True)
    assert [word for word in ("the key of Triton's control", "clients' rows") if word in privacy.said] == words


def test_the_version_is_that_of_the_wheel_that_is_pinned() -> None:
    """Its Triton says so itself in tests/abuse/test_triton_doors.py."""
    assert metadata.version("nvidia-pytriton") == "0.7.0"


def test_parts_are_located(machine: Path) -> None:
    found = locate()
    assert found.server == machine / "bin" / "tritonserver"
    assert found.python_backend == machine / "backends" / "python"
    assert found.stub == machine / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"
    assert (found.caches, found.libpython) == (machine / "caches", machine.parents[1] / "lib")


def test_wheel_that_is_not_installed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    sentence = "Triton's wheel is not installed: pip install nvidia-pytriton==0.7.0"
    failed = {check.what: check.said for check in examine() if not check.ok}
    assert failed == {"Triton's wheel": sentence, "Python stub": sentence}
    with pytest.raises(RuntimeMissing, match=r"^Triton's wheel is not installed") as caught:
        locate()
    assert caught.value.exit_code == 1


def test_wheel_without_the_server(machine: Path) -> None:
    (machine / "bin" / "tritonserver").unlink()
    assert [check.what for check in examine() if not check.ok] == ["Triton's wheel", "Python stub"]


def test_python_without_a_stub(machine: Path) -> None:
    (machine / "python_backend_stubs" / PYTHON).rename(machine / "python_backend_stubs" / "3.99")
    assert said("Python stub") == f"Triton has no stub for Python {PYTHON}, only for 3.99: use one of these"


@pytest.mark.parametrize("version", ["glibc 2.31", "glibc 2.34"])
def test_old_glibc(machine: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: version)
    assert said("glibc") == (
        f"{version.replace(' ', ' is ')} and Triton needs 2.35: use Debian 12, Ubuntu 22.04 or newer, or the container "
        "(docker compose up)"
    )


@pytest.mark.parametrize("version", ["glibc 2.35", "glibc 2.100", "glibc 3.0"])
def test_new_glibc(machine: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: version)
    assert [check.what for check in examine() if not check.ok] == []


@pytest.mark.parametrize("answer", [None, ""])
def test_no_glibc(machine: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: answer)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert said("glibc") == "this is Linux without glibc: use the container (docker compose up)"


def test_libpython_that_is_nowhere(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"libpython{PYTHON}.so.1.0"
    _hide_libpython(machine, monkeypatch, _raise(OSError("no such file")))
    assert said("libpython") == (
        f"{name} is missing, and Triton's Python models need it: apt-get install libpython{PYTHON}, or build Python "
        "with --enable-shared"
    )


def test_libpython_that_the_loader_finds(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hide_libpython(machine, monkeypatch, lambda name: None)
    assert {check.what: check.said for check in examine()}["libpython"] == "found by the system's loader"
    assert locate().libpython is None


def _hide_libpython(machine: Path, monkeypatch: pytest.MonkeyPatch, loader: Callable[[str], Any]) -> None:
    (machine.parents[1] / "lib" / f"libpython{PYTHON}.so.1.0").unlink()
    monkeypatch.setattr(sys, "base_prefix", str(machine))
    monkeypatch.setattr(ctypes, "CDLL", loader)


def _raise(error: Exception) -> Callable[[str], Any]:
    def fail(name: str) -> Any:
        raise error

    return fail


def test_numpy_2(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", {"numpy": "2.0.1", "onnxruntime": "1.23.2"}.__getitem__)
    assert said("numpy") == "numpy is 2.0.1, with which this Triton corrupts tensors: pip install 'numpy<2'"


@pytest.mark.parametrize("package", ["numpy", "onnxruntime"])
def test_package_that_is_not_installed(machine: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    def version(name: str) -> str:
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    assert said(package) == f"{package} is not installed: pip install {package}"


def test_little_shared_memory(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=64 * 256 - 1, f_frsize=4096))
    assert said("shared memory") == (
        "/dev/shm has 63 MiB free, and Triton's Python models need 64: enlarge it (docker: --shm-size)"
    )


def test_no_shared_memory(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", _raise(OSError("gone")))
    assert said("shared memory") == "/dev/shm is not there, and Triton's Python models need it: mount a tmpfs"


def test_nothing_is_started(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # But for the small program that tries what others can see of it.
    monkeypatch.setattr(installation, "probe_sealing", lambda: Sealing(True, True))
    monkeypatch.setattr("subprocess.Popen", _raise(AssertionError("a process was started")))
    monkeypatch.setattr(os, "posix_spawn", _raise(AssertionError("a process was started")))
    assert all(check.ok for check in examine())
