"""`schwift engine`: what is printed, and the exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from schwift.cli import main
from tests.support.engines import write_engine, write_wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCHWIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCHWIFT_ENGINE", raising=False)
    return tmp_path / "cache"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["engine", *arguments])


def test_install_show_remove(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache / "engine" / "2.51.0"
    wheel = str(write_wheel(tmp_path / "wheels", monkeypatch))
    shown = run("show")
    assert (shown.exit_code, shown.stdout) == (1, f"no Triton in {cache}: schwift engine install\n")
    installed = run("install", "--wheel", wheel)
    assert installed.stdout == f"Triton 2.51.0: unpacking\nTriton 2.51.0: in {folder}\n"
    assert run("install").stdout == f"Triton 2.51.0 is there already: {folder}\n"
    shown = run("show")
    assert (shown.exit_code, shown.stdout.splitlines()) == (
        0,
        ["version: 2.51.0", f"folder:  {folder}", "size:    0 MB", "Pythons: 3.11, 3.12"],
    )
    assert run("remove").stdout == f"removed {folder}\n"
    assert run("remove").stdout == f"no Triton in {cache}\n"


def test_the_size_is_that_of_all_its_files(cache: Path) -> None:
    folder = cache / "engine" / "2.51.0"
    write_engine(folder, "3.11")
    for path in (folder / "nvidia_pytriton.libs" / "a.so", folder / "pytriton" / "tritonserver" / "b.so"):
        path.write_bytes(bytes(1_500_000))
    assert "size:    3 MB" in run("show").stdout


def test_a_folder_of_yours_is_shown_and_not_removed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_engine(tmp_path / "mine", "3.13")
    monkeypatch.setenv("SCHWIFT_ENGINE", str(tmp_path / "mine"))
    assert f"folder:  {tmp_path / 'mine'}" in run("show").stdout
    removed = run("remove")
    assert removed.exit_code == 1
    assert removed.stderr.startswith(f"error: SCHWIFT_ENGINE names {tmp_path / 'mine'}, which schwift did not install")


def test_the_cache_is_where_xdg_or_the_home_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCHWIFT_CACHE", raising=False)
    monkeypatch.delenv("SCHWIFT_ENGINE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert run("show").stdout == f"no Triton in {tmp_path / 'xdg' / 'schwift'}: schwift engine install\n"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert run("show").stdout == f"no Triton in {tmp_path / '.cache' / 'schwift'}: schwift engine install\n"
