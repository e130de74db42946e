"""Environments are made once, whole or not at all, and found again by what was asked for."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from converter.environments.environment_store import EnvironmentStore
from converter.environments.interpreter import examine_interpreter, own_interpreter
from converter.errors import EnvironmentProblem
from tests.support.models.wheels import add_wheel, ask_folder

VERSION = own_interpreter().version
PYTHON = (VERSION, Path(sys.executable))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = ask_folder(tmp_path / "wheels", monkeypatch)
    add_wheel(folder, "numpy", "1.26.4")
    add_wheel(folder, "trees", "1.0", ["leaves>=2"])
    add_wheel(folder, "leaves", "2.1")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> EnvironmentStore:
    return EnvironmentStore(tmp_path / "environments")


def make(store: EnvironmentStore, lines: Sequence[str], lock: Sequence[str] = ()) -> tuple[str, tuple[str, ...], int]:
    """The key and the lock, and how many environments were made."""
    said: list[str] = []
    key, found = store.build(lines, PYTHON, lock, said.append)
    return key, found, sum("made in" in line for line in said)


def test_an_environment_has_what_was_asked_for_and_numpy(wheels: Path, store: EnvironmentStore) -> None:
    key, lock, made = make(store, ["trees"])
    assert (lock, made) == (("leaves==2.1", "numpy==1.26.4", "trees==1.0"), 1)
    prefix = store.find(key)
    assert prefix == store.root / key
    libpython = own_interpreter().libpython
    assert (prefix / "launch").read_text() == f"{VERSION}\n{prefix}\n{libpython or ''}\n"
    command = [str(prefix / "bin" / "python3"), "-c", "import trees, sys; print(trees.__version__, sys.prefix)"]
    assert subprocess.check_output(command, text=True) == f"1.0 {prefix}\n"
    packages = prefix / "lib" / f"python{VERSION}" / "site-packages"
    assert list((packages / "trees" / "__pycache__").glob("*.pyc"))
    assert not (packages / "pip").exists()


def test_it_is_made_once_and_found_without_an_index(wheels: Path, store: EnvironmentStore) -> None:
    first, lock, _ = make(store, ["trees", "leaves"])
    for path in wheels.glob("*.whl"):
        path.unlink()
    again, found, made = make(EnvironmentStore(store.root), ["leaves", "trees"])
    assert (again, found, made) == (first, lock, 0)


def test_equal_packages_are_one_environment_whoever_asks(wheels: Path, store: EnvironmentStore) -> None:
    first, _, _ = make(store, ["trees"])
    before = (store.root / first).stat().st_ino
    second, _, made = make(store, ["trees>=1"])
    assert (first == second, made) == (True, 1)
    # It was not taken from under the models that run in it.
    assert (store.root / first).stat().st_ino == before
    assert [each.key for each in store.list_all()] == [first]
    assert store.find(first) is not None


def test_a_lock_says_which_versions_are_taken(wheels: Path, store: EnvironmentStore, tmp_path: Path) -> None:
    _, lock, _ = make(store, ["trees"])
    add_wheel(wheels, "leaves", "3.0")
    elsewhere = EnvironmentStore(tmp_path / "elsewhere")
    key, found, made = make(elsewhere, ["trees"], lock)
    assert (key, found, made) == (make(store, ["trees"])[0], lock, 1)
    anew = EnvironmentStore(tmp_path / "anew")
    assert "leaves==3.0" in make(anew, ["trees"])[1]
    # One that somebody wrote by hand is found again too.
    by_hand = ["trees == 1.0", "leaves==2.1", "numpy==1.26.4"]
    assert [make(anew, ["trees"], by_hand)[2] for _ in range(2)] == [1, 0]


def test_of_two_builds_at_once_one_makes_it(wheels: Path, store: EnvironmentStore) -> None:
    together = threading.Barrier(2)

    def build() -> tuple[str, int]:
        together.wait()
        key, _, made = make(EnvironmentStore(store.root), ["trees"])
        return key, made

    with ThreadPoolExecutor(2) as pool:
        (one, here), (other, there) = [future.result() for future in [pool.submit(build) for _ in range(2)]]
    assert one == other
    assert here + there == 1


def test_a_build_that_was_killed_leaves_nothing_that_looks_whole(
    wheels: Path, store: EnvironmentStore, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from converter.environments.environment_store import EnvironmentStore\n"
        "EnvironmentStore(Path(sys.argv[1])).build(['trees'], (sys.argv[2], Path(sys.executable)), (), print)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(store.root), VERSION]) as killed:
        while not list(store.root.glob(".making-*/venv/bin/python3")):
            assert killed.poll() is None
        killed.kill()
    assert list(store.list_all()) == []
    key, _, made = make(store, ["trees"])
    assert made == 1
    assert store.find(key) is not None
    # What its pip, which outlived it, wrote meanwhile goes with the next change.
    store.prune(lambda: [key], lambda line: None)
    assert [path.name for path in store.root.iterdir() if path.name not in (key, "index", "lock")] == []


def test_one_whose_python_is_gone_is_none_and_made_anew(wheels: Path, store: EnvironmentStore) -> None:
    key, _, _ = make(store, ["trees"])
    python = store.root / key / "bin" / "python3"
    python.unlink()
    python.symlink_to("/no/such/python")
    assert store.find(key) is None
    assert [each.usable for each in store.list_all()] == [False]
    again, _, made = make(store, ["trees"])
    assert (again, made) == (key, 1)
    assert store.find(key) is not None


def test_one_that_was_copied_is_none_and_made_anew(wheels: Path, store: EnvironmentStore, tmp_path: Path) -> None:
    key, _, _ = make(store, ["trees"])
    for way in (shutil.copytree, shutil.move):
        other = EnvironmentStore(tmp_path / way.__name__)
        other.root.mkdir()
        way(store.root / key, other.root / key)
        assert other.find(key) is None
    assert make(other, ["trees"]) == (key, other.read_lock(key), 1)
    assert other.find(key) is not None
    # Another name of the same folder is none.
    (tmp_path / "name").symlink_to(other.root)
    assert EnvironmentStore(tmp_path / "name").find(key) is not None


def test_nothing_of_a_package_runs_in_the_build(wheels: Path, store: EnvironmentStore, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    add_wheel(wheels, "active", "1.0", more={"active.pth": f"import os; os.mkdir({str(ran)!r})\n"})
    key, lock, _ = make(store, ["active"])
    assert lock == ("active==1.0", "numpy==1.26.4")
    assert "active" in examine_interpreter(store.root / key, bare=True).modules
    assert not ran.exists()
    # As it does where the model runs.
    subprocess.run([str(store.root / key / "bin" / "python3"), "-c", ""], check=True)
    assert ran.exists()


@pytest.mark.parametrize("key", ["", "..", "index", "0" * 32])
def test_what_is_no_environment_is_not_found(store: EnvironmentStore, key: str) -> None:
    (store.root / "index").mkdir(parents=True)
    assert store.find(key) is None


def test_pruning_leaves_what_is_used(wheels: Path, store: EnvironmentStore) -> None:
    used, _, _ = make(store, ["trees"])
    unused, _, _ = make(store, ["leaves"])
    listed = {each.key: each for each in store.list_all()}
    assert (listed[unused].requirements, listed[unused].python) == (("leaves",), VERSION)
    assert listed[unused].size > 10_000
    assert store.prune(lambda: [used], lambda line: None) == [listed[unused]]
    assert [each.key for each in store.list_all()] == [used]
    assert len(list((store.root / "index").iterdir())) == 1


def test_what_is_used_is_asked_for_while_nobody_makes_another(wheels: Path, store: EnvironmentStore) -> None:
    key, _, _ = make(store, ["trees"])

    def find_used() -> list[str]:
        with open(store.root / "lock") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return [key]

    assert store.prune(find_used, lambda line: None) == []


def test_a_folder_that_cannot_be_written_is_said_with_the_remedy(wheels: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"cannot be written.*SCHWIFT_CACHE.*run --rm environments"):
        make(EnvironmentStore(tmp_path / "file" / "environments"), ["trees"])


def test_one_that_fits_is_found_whatever_it_was_made_for(wheels: Path, store: EnvironmentStore) -> None:
    assert store.find_fitting(["trees"], VERSION) is None
    key, _, _ = make(store, ["trees"])
    assert store.find_fitting(["leaves>=2", "numpy"], VERSION) == key
    assert store.find_fitting(["leaves>=3"], VERSION) is None
    assert store.find_fitting(["leaves>=2", "roots"], VERSION) is None
    assert store.find_fitting(["trees"], "3.9") is None
    (store.root / key / "requirements.lock").write_text("damaged\n")
    assert store.find_fitting(["trees"], VERSION) is None
