"""Which Pythons can run models, asked of each without changing anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converter.environments import describe_python
from converter.environments.interpreter import examine_interpreter, find_pythons, own_interpreter
from converter.errors import EnvironmentProblem
from converter.schema.model import PYTHONS

OWN = "{}.{}".format(*sys.version_info)


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = folder / "lib" / f"python{OWN}" / "site-packages"
    for path in ("space/deep/__init__.py", "space/flat.py", "single.py", "Some_Thing-1.5.dist-info/METADATA"):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_text("Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.5\n")
    return folder


def fake_python(folder: Path, program: str) -> Path:
    """An environment whose Python is a shell script."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "bin" / "python3").chmod(0o755)
    return folder


def describing_itself(folder: Path, **changed: Any) -> str:
    """The line of a script that answers as our Python would, but for what is changed."""
    answer = folder / "answer.json"
    answer.write_text(json.dumps({**describe_python.describe(), **changed}))
    return f"cat {answer}"


def test_a_venv_is_described_without_being_changed(venv: Path) -> None:
    packages = venv / "lib" / f"python{OWN}" / "site-packages"
    (packages / "started.py").write_text("")
    (packages / "started.pth").write_text("import started\n")
    before = sorted(venv.rglob("*"))
    found = examine_interpreter(venv)
    assert (found.prefix, found.version, found.libpython) == (venv, OWN, own_interpreter().libpython)
    assert found.packages == {"some-thing": "1.5"}
    assert {"space", "single", "Some_Thing", "json", "sys"} <= found.modules
    assert "numpy" not in found.modules
    assert sorted(venv.rglob("*")) == before


@pytest.mark.parametrize(
    ("module", "there"),
    [
        ("space.deep", True), ("space.flat", True), ("space.gone", False), ("space", True), ("single", True),
        ("gone", False), ("gone.below", False), ("json.decoder", True),
    ],
)  # fmt: skip
def test_modules_are_found_by_their_files(venv: Path, module: str, there: bool) -> None:
    assert examine_interpreter(venv).has_module(module) is there


def test_our_own_has_what_the_build_imports() -> None:
    own = own_interpreter()
    assert (own.prefix, own.version) == (Path(sys.prefix), OWN)
    assert {"numpy", "pydantic"} <= set(own.packages)
    assert {"numpy", "converter"} <= own.modules
    assert os.access(own.executable, os.X_OK)


def problem_of(prefix: Path) -> str:
    with pytest.raises(EnvironmentProblem) as caught:
        examine_interpreter(prefix)
    (problem,) = caught.value.problems
    return problem


def test_a_folder_without_a_python_is_said(tmp_path: Path) -> None:
    assert problem_of(tmp_path) == (
        f"{tmp_path}: no Python environment, since it has no bin/python3: name the folder of a venv or of a conda "
        "environment"
    )


def test_a_python_that_does_not_run_is_said(tmp_path: Path) -> None:
    prefix = fake_python(tmp_path / "broken", "exit 127")
    assert problem_of(prefix) == (f"{prefix}/bin/python3 does not run: make the environment anew, or name another")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"version": "3.14"}, "Python 3.14 does not run models here: use a 3.13 environment"),
        ({"version": "3.9"}, "Python 3.9 does not run models here: the oldest is 3.10: use a newer one"),
        (
            {"version": "3.12", "libpython": None},
            "libpython3.12.so.1.0 is missing, and Triton's Python models need it: apt-get install libpython3.12, or "
            "build Python with --enable-shared",
        ),
    ],
)
def test_a_python_that_runs_no_models_is_said_with_the_remedy(
    tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    prefix = fake_python(tmp_path / "other", describing_itself(tmp_path, **said))
    assert problem_of(prefix) == f"{prefix}: {message}"


def test_pythons_are_found_on_path_and_of_pyenv_if_they_can_make_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, shim, bare = (version for version in PYTHONS if version != OWN)
    root = tmp_path / "pyenv"
    line = describing_itself(tmp_path, version=good, executable="/good/python3")
    fake_python(root / "versions" / f"{good}.1", line)
    for name, program in ((shim, "exit 127"), (bare, "cat /dev/null")):
        path = tmp_path / "path"
        path.mkdir(exist_ok=True)
        (path / f"python{name}").write_text(f"#!/bin/sh\n{program}\n")
        (path / f"python{name}").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(root))
    found = find_pythons()
    assert found[good] == Path("/good/python3")
    assert found[OWN].resolve() == Path(sys.executable).resolve()
    assert set(found) >= {OWN, good} and next(iter(found)) == OWN
