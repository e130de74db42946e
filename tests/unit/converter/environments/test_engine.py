"""Where the engine is looked for, installed once and removed from."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from typing import Any

import pytest

from converter.environments.engine import ensure_engine, find_engine, remove_engine
from converter.errors import RuntimeMissing
from converter.schema.settings import Settings
from tests.support.engines import stub_of, write_engine, write_wheel


def settings(folder: Path, **fields: Any) -> Settings:
    return Settings(_env_file=None, SCHWIFT_CACHE=folder / "cache", **fields)


def test_no_engine(tmp_path: Path) -> None:
    assert find_engine(settings(tmp_path)) is None
    assert not (tmp_path / "cache").exists()


def test_the_engine_in_the_cache(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "engine" / "2.51.0"
    write_engine(folder, "3.12", "3.9", "3.10")
    found = find_engine(settings(tmp_path))
    assert found is not None
    assert (found.folder, found.version) == (folder, "2.51.0")
    assert found.triton == folder / "pytriton" / "tritonserver"
    assert list(found.stubs.items()) == [(python, stub_of(folder, python)) for python in ("3.9", "3.10", "3.12")]
    assert found.libraries == folder / "nvidia_pytriton.libs"


@pytest.mark.parametrize("below", ["", "pytriton/tritonserver"])
def test_a_folder_that_the_setting_names_is_taken(tmp_path: Path, below: str) -> None:
    write_engine(tmp_path / "mine", "3.11")
    found = find_engine(settings(tmp_path, SCHWIFT_ENGINE=tmp_path / "mine" / below))
    assert found is not None
    assert found.triton == tmp_path / "mine" / "pytriton" / "tritonserver"
    assert found.libraries == tmp_path / "mine" / "nvidia_pytriton.libs"


def test_nvidias_layout_has_one_stub_and_its_libraries_elsewhere(tmp_path: Path) -> None:
    for name in ("bin/tritonserver", "backends/python/libtriton_python.so", "lib/libtritonserver.so"):
        (tmp_path / "opt" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "opt" / name).write_bytes(b"")
    stub = tmp_path / "opt" / "backends" / "python" / "triton_python_backend_stub"
    stub.write_bytes(b"\x7fELF\0libm.so.6\0libpython3.12.so.1.0\0")
    found = find_engine(settings(tmp_path, SCHWIFT_ENGINE=tmp_path / "opt"))
    assert found is not None
    assert (found.stubs, found.libraries, found.version) == ({"3.12": stub}, None, "of unknown version")


def test_a_folder_without_a_triton_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"^SCHWIFT_ENGINE: .*/cache has no bin/tritonserver .* unset it"):
        find_engine(settings(tmp_path, SCHWIFT_ENGINE=tmp_path / "cache"))


def test_it_is_installed_once_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, said = write_wheel(tmp_path / "wheels", monkeypatch), list[str]()
    folder = tmp_path / "cache" / "engine" / "2.51.0"
    found = ensure_engine(settings(tmp_path), said.append, wheel)
    assert said == ["Triton 2.51.0: unpacking", f"Triton 2.51.0: in {folder}"]
    assert (found.version, list(found.stubs)) == ("2.51.0", ["3.11", "3.12"])
    assert ensure_engine(settings(tmp_path), said.append) == found and len(said) == 2
    assert remove_engine(settings(tmp_path), said.append) == folder and not folder.exists()
    assert remove_engine(settings(tmp_path), said.append) is None


def test_what_is_incomplete_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / "engine" / "2.51.0"
    write_engine(folder)
    (folder / "pytriton" / "tritonserver" / "bin" / "tritonserver").unlink()
    assert find_engine(settings(tmp_path)) is None
    wheel = write_wheel(tmp_path / "wheels", monkeypatch)
    assert ensure_engine(settings(tmp_path), lambda text: None, wheel).folder == folder


def test_a_folder_of_yours_is_not_removed(tmp_path: Path) -> None:
    write_engine(tmp_path / "mine", "3.11")
    with pytest.raises(RuntimeMissing, match=r"^SCHWIFT_ENGINE names .*/mine, which schwift did not install"):
        remove_engine(settings(tmp_path, SCHWIFT_ENGINE=tmp_path / "mine"), lambda text: None)
    assert stub_of(tmp_path / "mine", "3.11").is_file()


def test_two_at_once_install_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(tmp_path / "wheels", monkeypatch)
    root, said, waits = tmp_path / "cache" / "engine", list[str](), threading.Event()
    root.mkdir(parents=True)

    def say(text: str) -> None:
        said.append(text)
        waits.set()

    with open(root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=ensure_engine, args=(settings(tmp_path), say, wheel))
        second.start()
        assert waits.wait(10)
        write_engine(root / "2.51.0", "3.11")
    second.join(10)
    assert said == [f"another process is at work in {root}: waiting"]


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(RuntimeMissing, match=r"^.*/cache/engine cannot be written: .*: name another .*SCHWIFT_CACHE"):
        ensure_engine(settings(tmp_path), lambda text: None)
