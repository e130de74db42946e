"""Why pip could not, in a line or two: from what it really says."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from converter.environments.pip_install import PipFailed, install, make_venv
from converter.errors import EnvironmentProblem
from tests.support.models.wheels import add_wheel, ask_folder


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return ask_folder(tmp_path / "wheels", monkeypatch)


def failure_of(root: Path, *lines: str) -> PipFailed:
    make_venv(Path(sys.executable), root / "venv")
    with pytest.raises(PipFailed) as caught:
        install(lines, root / "venv", Path(sys.executable), root, [], lambda line: None)
    return caught.value


def test_no_such_version_names_the_newest_that_there_are(wheels: Path, tmp_path: Path) -> None:
    for version in ("1.0", "1.1", "1.2", "1.3"):
        add_wheel(wheels, "trees", version)
    error = failure_of(tmp_path, "trees==2.0")
    assert (error.reason, str(error)) == (
        "versions",
        "the index has no wheel of trees==2.0 for this Python (the newest that there are: 1.1, 1.2, 1.3)",
    )


def test_wheels_of_another_python_and_sources_are_none(wheels: Path, tmp_path: Path) -> None:
    add_wheel(wheels, "trees", "1.0", tag="cp38-cp38-manylinux2014_x86_64")
    (wheels / "trees-2.0.tar.gz").write_bytes(b"")
    error = failure_of(tmp_path, "trees")
    assert (error.reason, str(error)) == (
        "versions", "the index has no wheel of trees for this Python (there is none at all)"
    )  # fmt: skip


def test_contradicting_requirements_are_named(wheels: Path, tmp_path: Path) -> None:
    add_wheel(wheels, "leaves", "1.0")
    add_wheel(wheels, "leaves", "2.0")
    add_wheel(wheels, "trees", "1.0", ["leaves<2"])
    error = failure_of(tmp_path, "trees", "leaves>=2")
    assert (error.reason, str(error)) == (
        "versions",
        "the requirements contradict each other (The user requested leaves>=2; trees 1.0 depends on leaves<2)",
    )


def test_an_index_that_cannot_be_reached_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    error = failure_of(tmp_path, "trees")
    assert (error.reason, str(error)) == (
        "network",
        "the index of packages cannot be reached: build where it can, or let PIP_FIND_LINKS name a folder of wheels",
    )


def test_a_damaged_wheel_is_said_with_pips_own_words(wheels: Path, tmp_path: Path) -> None:
    (wheels / "trees-1.0-py3-none-any.whl").write_bytes(b"no zip")
    error = failure_of(tmp_path, "trees")
    assert error.reason == "other"
    assert "trees" in str(error) and len(str(error)) <= 300


def test_without_a_pip_of_our_own_one_is_made_for_a_while(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version

    def without_pip(name: str) -> str:
        if name == "pip":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", without_pip)
    add_wheel(wheels, "trees", "1.0")
    make_venv(Path(sys.executable), tmp_path / "venv")
    (tmp_path / "scratch").mkdir()
    install(["trees"], tmp_path / "venv", Path(sys.executable), tmp_path / "scratch", [], lambda line: None)
    assert list((tmp_path / "venv").glob("lib/*/site-packages/trees/__init__.py"))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_python_that_makes_no_venv_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"/bin/false makes no venv: no reason: install its venv package"):
        make_venv(Path("/bin/false"), tmp_path / "venv")
