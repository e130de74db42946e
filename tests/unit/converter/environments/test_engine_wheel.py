"""The wheel: downloaded by pip as its variables say, checked, and what is needed of it unpacked in one step."""

from __future__ import annotations

import errno
import os
import stat
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from converter.environments.engine_wheel import install
from converter.errors import RuntimeMissing
from tests.support.engines import write_wheel


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / "2.51.0"


def quiet(text: str) -> None:
    pass


def offline(monkeypatch: pytest.MonkeyPatch, links: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_needed_is_unpacked_with_its_modes_whatever_the_umask(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, monkeypatch)
    before = os.umask(0o077)
    try:
        install(target, quiet, wheel)
    finally:
        os.umask(before)
    assert {str(path.relative_to(target)): mode(path) for path in target.rglob("*") if path.is_file()} == {
        "pytriton/tritonserver/TRITON_VERSION": 0o644,
        "pytriton/tritonserver/bin/tritonserver": 0o755,
        "pytriton/tritonserver/backends/python/libtriton_python.so": 0o644,
        "pytriton/tritonserver/caches/local/libtritoncache_local.so": 0o644,
        "pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub": 0o755,
        "pytriton/tritonserver/python_backend_stubs/3.12/triton_python_backend_stub": 0o755,
        "nvidia_pytriton.libs/libb64.so": 0o644,
    }
    assert {mode(path) for path in (target, *target.rglob("*")) if path.is_dir()} == {0o755}
    assert list(target.parent.iterdir()) == [target] and wheel.is_file()


def test_no_file_leaves_the_folder(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = ("pytriton/tritonserver/../../../../escaped", "nvidia_pytriton.libs/../../escaped", "/escaped", "escaped")
    install(target, quiet, write_wheel(tmp_path / "wheels", monkeypatch, *outside))
    found = {path.relative_to(tmp_path) for path in tmp_path.rglob("escaped")}
    assert all(path.is_relative_to("cache/2.51.0") for path in found)
    assert not Path("/escaped").exists()


def test_another_wheel_is_refused(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(tmp_path, monkeypatch)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("pytriton/tritonserver/evil", "")
    with pytest.raises(RuntimeMissing, match=rf"^{wheel.name} is not the wheel of nvidia-pytriton==0.7.0 .*sha256"):
        install(target, quiet, wheel)
    assert list(target.parent.iterdir()) == []


def test_a_wheel_that_is_not_there(target: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"^.*/no.whl cannot be read: No such file or directory: name a wheel of"):
        install(target, quiet, tmp_path / "no.whl")


def test_pip_downloads_it_from_where_its_variables_say(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path / "wheels", monkeypatch)
    offline(monkeypatch, tmp_path / "wheels")
    said: list[str] = []
    install(target, said.append)
    assert said == [
        "Triton 2.51.0: downloading, once (55 MB)",
        "Triton 2.51.0: unpacking",
        f"Triton 2.51.0: in {target}",
    ]
    assert list(target.parent.iterdir()) == [target]


def test_an_interpreter_without_pip_takes_the_one_of_a_venv(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path / "wheels", monkeypatch)
    offline(monkeypatch, tmp_path / "wheels")
    venv.create(tmp_path / "bare")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    install(target, quiet)
    assert list(target.parent.iterdir()) == [target]


def test_neither_pip_nor_ensurepip(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, with_pip: bool) -> None:
        raise ModuleNotFoundError("No module named 'ensurepip'")

    venv.create(tmp_path / "bare")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    monkeypatch.setattr(venv, "create", fail)
    with pytest.raises(RuntimeMissing, match=r"has neither pip nor ensurepip: .*--wheel PATH.*SCHWIFT_ENGINE"):
        install(target, quiet)
    assert list(target.parent.iterdir()) == []


def test_offline_without_a_wheel_names_the_remedy(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    with pytest.raises(RuntimeMissing) as caught:
        install(target, quiet)
    assert str(caught.value) == (
        "Triton 2.51.0 could not be downloaded: No matching distribution found for nvidia-pytriton==0.7.0: download it "
        "where there is a network (pip download --no-deps nvidia-pytriton==0.7.0) and give it to `schwift engine "
        "install --wheel PATH`, or let SCHWIFT_ENGINE name a folder that has a Triton"
    )
    assert list(target.parent.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, monkeypatch)
    extract, count = zipfile.ZipFile.extract, iter(range(9))

    def fill(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> str:
        if next(count) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return extract(archive, entry, folder)

    monkeypatch.setattr(zipfile.ZipFile, "extract", fill)
    with pytest.raises(RuntimeMissing, match=r"No space left on device: make room, or name another .*SCHWIFT_CACHE"):
        install(target, quiet, wheel)
    assert list(target.parent.iterdir()) == []


def test_what_a_killed_installation_left_is_removed(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = target.parent / "partial-x" / "engine" / "pytriton"
    left.mkdir(parents=True)
    install(target, quiet, write_wheel(tmp_path, monkeypatch))
    assert list(target.parent.iterdir()) == [target]
