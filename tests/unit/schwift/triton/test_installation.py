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

from converter.environments import engine_wheel
from converter.environments.engine_wheel import Say
from converter.errors import RuntimeMissing
from converter.schema.settings import Settings
from schwift.triton import installation
from schwift.triton.installation import Sealing, examine, locate
from tests.support.engines import stub_of, write_engine

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


VERSIONS = {
    "numpy": "1.26.4", "scikit-learn": "1.9.1", "joblib": "1.6.0", "onnxruntime": "1.23.2", "numba": "0.68.1",
    "torch": "2.13.0",
}  # fmt: skip


def settings(folder: Path, **fields: Any) -> Settings:
    return Settings(_env_file=None, SCHWIFT_CACHE=folder / "cache", **fields)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has everything; returns the engine's folder."""
    engine = tmp_path / "cache" / "engine" / "2.51.0"
    write_engine(engine, PYTHON)
    library = tmp_path / "lib" / f"libpython{PYTHON}.so.1.0"
    library.parent.mkdir()
    library.write_text("")
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(library.parent) if name == "LIBDIR" else None)
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setattr(metadata, "version", VERSIONS.__getitem__)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=64 * 256, f_frsize=4096))
    return engine


def failures(folder: Path, **fields: Any) -> dict[str, str]:
    return {check.what: check.said for check in examine(settings(folder, **fields)) if not check.ok}


def test_machine_that_has_everything_passes_every_check(machine: Path, tmp_path: Path) -> None:
    *checks, age, privacy = examine(settings(tmp_path))
    assert [(check.what, check.ok, check.said) for check in checks] == [
        ("glibc", True, "2.36"),
        ("engine", True, f"Triton 2.51.0 in {machine}"),
        ("Python stub", True, str(stub_of(machine, PYTHON))),
        ("libpython", True, str(tmp_path / "lib")),
        *((name, True, version) for name, version in VERSIONS.items()),
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
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealing: Sealing, words: list[str]
) -> None:
    monkeypatch.setattr(installation, "probe_sealing", lambda: sealing)
    privacy = examine(settings(tmp_path))[-1]
    assert (privacy.what, privacy.ok, privacy.note) == ("privacy", True, True)
    assert [word for word in ("the key of Triton's control", "clients' rows") if word in privacy.said] == words


def test_parts_are_located(machine: Path, tmp_path: Path) -> None:
    found = locate(settings(tmp_path))
    triton = machine / "pytriton" / "tritonserver"
    assert found.server == triton / "bin" / "tritonserver"
    assert found.python_backend == triton / "backends" / "python"
    assert found.stubs == {PYTHON: stub_of(machine, PYTHON)}
    assert (found.caches, found.libpython) == (triton / "caches", tmp_path / "lib")


def test_an_engine_that_is_not_there_yet_is_a_note(tmp_path: Path, machine: Path) -> None:
    elsewhere = Settings(_env_file=None, SCHWIFT_CACHE=tmp_path / "empty")
    (check,) = [check for check in examine(elsewhere) if check.what == "engine"]
    assert (check.ok, check.note, check.said) == (
        True,
        True,
        f"Triton 2.51.0 is not in {tmp_path / 'empty'} yet: `schwift serve` installs it at first, and `schwift engine "
        "install` does so now",
    )
    assert not (tmp_path / "empty").exists()


def test_locating_installs_what_is_not_there(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(target: Path, say: Say, wheel: Path | None) -> None:
        say("installing")
        write_engine(target, PYTHON)

    monkeypatch.setattr(engine_wheel, "install", install)
    found = locate(Settings(_env_file=None, SCHWIFT_CACHE=tmp_path / "empty"))
    assert (
        found.server == tmp_path / "empty" / "engine" / "2.51.0" / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    )
    assert capsys.readouterr().out == "installing\n"


def test_a_folder_that_has_no_triton_fails(machine: Path, tmp_path: Path) -> None:
    (said,) = failures(tmp_path, SCHWIFT_ENGINE=tmp_path).values()
    assert said.startswith(f"SCHWIFT_ENGINE: {tmp_path} has no bin/tritonserver")
    with pytest.raises(RuntimeMissing, match=r"^SCHWIFT_ENGINE: .* has no bin/tritonserver") as caught:
        locate(settings(tmp_path, SCHWIFT_ENGINE=tmp_path))
    assert caught.value.exit_code == 1


def test_python_without_a_stub(machine: Path, tmp_path: Path) -> None:
    stub_of(machine, PYTHON).parent.rename(stub_of(machine, "3.99").parent)
    sentence = f"Triton has no stub for Python {PYTHON}, only for 3.99: use one of these"
    assert failures(tmp_path) == {"Python stub": sentence}
    with pytest.raises(RuntimeMissing, match=rf"^{sentence}$"):
        locate(settings(tmp_path))


def test_another_triton_than_the_wheels_is_not_called_old(machine: Path, tmp_path: Path) -> None:
    (machine / "pytriton" / "tritonserver" / "TRITON_VERSION").write_text("2.63.0\n")
    said = {check.what: check.said for check in examine(settings(tmp_path))}
    assert said["engine"] == f"Triton 2.63.0 in {machine}" and "Triton's age" not in said


@pytest.mark.parametrize("version", ["glibc 2.31", "glibc 2.34"])
def test_old_glibc(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: version)
    assert failures(tmp_path)["glibc"] == (
        f"{version.replace(' ', ' is ')} and Triton needs 2.35: use Debian 12, Ubuntu 22.04 or newer, or the container "
        "(docker compose up)"
    )


@pytest.mark.parametrize("version", ["glibc 2.35", "glibc 2.100", "glibc 3.0"])
def test_new_glibc(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: version)
    assert failures(tmp_path) == {}


@pytest.mark.parametrize("answer", [None, ""])
def test_no_glibc(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: answer)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert failures(tmp_path)["glibc"] == "this is Linux without glibc: use the container (docker compose up)"


def test_libpython_that_is_nowhere(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"libpython{PYTHON}.so.1.0"
    _hide_libpython(tmp_path, monkeypatch, _raise(OSError("no such file")))
    assert failures(tmp_path)["libpython"] == (
        f"{name} is missing, and Triton's Python models need it: apt-get install libpython{PYTHON}, or build Python "
        "with --enable-shared"
    )


def test_libpython_that_the_loader_finds(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _hide_libpython(tmp_path, monkeypatch, lambda name: None)
    assert {check.what: check.said for check in examine(settings(tmp_path))}[
        "libpython"
    ] == "found by the system's loader"
    assert locate(settings(tmp_path)).libpython is None


def _hide_libpython(folder: Path, monkeypatch: pytest.MonkeyPatch, loader: Callable[[str], Any]) -> None:
    (folder / "lib" / f"libpython{PYTHON}.so.1.0").unlink()
    monkeypatch.setattr(sys, "base_prefix", str(folder))
    monkeypatch.setattr(ctypes, "CDLL", loader)


def _raise(error: Exception) -> Callable[[str], Any]:
    def fail(name: str) -> Any:
        raise error

    return fail


def test_a_library_that_is_not_installed_names_the_extra_that_brings_it(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "numpy":
            return "1.26.4"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    extras = {"scikit-learn": "sklearn", "joblib": "sklearn", "onnxruntime": "onnx", "numba": "numba", "torch": "torch"}
    checks = {check.what: check for check in examine(settings(tmp_path))}
    assert {name: (checks[name].ok, checks[name].note, checks[name].said) for name in extras} == {
        name: (True, True, f"not installed; models that need it: pip install 'schwift[{extra}]'")
        for name, extra in extras.items()
    }


def test_numpy_that_is_not_installed(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", _raise(metadata.PackageNotFoundError("numpy")))
    assert failures(tmp_path) == {"numpy": "numpy is not installed: pip install numpy"}


def test_little_shared_memory(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=64 * 256 - 1, f_frsize=4096))
    assert failures(tmp_path)["shared memory"] == (
        "/dev/shm has 63 MiB free, and Triton's Python models need 64: enlarge it (docker: --shm-size)"
    )


def test_no_shared_memory(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", _raise(OSError("gone")))
    assert (
        failures(tmp_path)["shared memory"]
        == "/dev/shm is not there, and Triton's Python models need it: mount a tmpfs"
    )


def test_nothing_is_started(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # But for the small program that tries what others can see of it.
    monkeypatch.setattr(installation, "probe_sealing", lambda: Sealing(True, True))
    monkeypatch.setattr("subprocess.Popen", _raise(AssertionError("a process was started")))
    monkeypatch.setattr(os, "posix_spawn", _raise(AssertionError("a process was started")))
    assert all(check.ok for check in examine(settings(tmp_path)))


def test_where_fronts_run_is_said_if_numpy_is_2(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> tuple[str, bool]:
        (check,) = (check for check in examine(settings(tmp_path)) if check.what == "fronts")
        assert check.ok
        return check.said, check.note

    monkeypatch.setattr(metadata, "version", (VERSIONS | {"numpy": "2.4.6"}).__getitem__)
    monkeypatch.setattr("converter.environments.fronts.find_pythons", lambda: {"3.12": Path("/usr/bin/python3.12")})
    assert said() == (
        "an environment with numpy 1 is made at the first serve, or by `schwift engine install`", True,
    )  # fmt: skip
    monkeypatch.setattr("converter.environments.fronts.find_pythons", lambda: {"3.13": Path("/usr/bin/python3.13")})
    sentence, note = said()
    assert note and "Python 3.10 to 3.12" in sentence and "endpoints: [predict]" in sentence
    monkeypatch.setattr("converter.environments.fronts.find_fronts", lambda settings: tmp_path / "made")
    assert said() == (f"run in {tmp_path / 'made'}", False)


def test_the_models_environment_is_looked_at_if_one_is_named(machine: Path, tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    said = failures(tmp_path, SCHWIFT_MODEL_ENV=tmp_path / "venv")
    assert said["models' environment"].startswith(f"{tmp_path / 'venv'}: no Python environment, since it has no bin/")
    checks = examine(settings(tmp_path, SCHWIFT_MODEL_ENV=sys.prefix))
    (said_of_it,) = (check.said for check in checks if check.what == "models' environment")
    assert said_of_it.startswith(f"{sys.prefix}, Python {PYTHON}, numpy ")
