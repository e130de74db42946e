"""What was hashed is what is loaded: files that are swapped, linked elsewhere or written to after the build."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.models.runtime_models import make_config
from triton_repo_template.runtime.checked_file import CheckedFile
from triton_repo_template.runtime.errors import LoadError
from triton_repo_template.runtime.loaders import load_predictor, read_joblib

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
MIB = 1024 * 1024
# Puts the good file, the bad one or a link to the bad one in the place of the third, as fast as it can.
FLIPPER = """
import itertools, os, shutil, sys
good, bad, name = sys.argv[1:]
for put in itertools.cycle([(shutil.copy, good), (shutil.copy, bad), (shutil.copy, good), (os.symlink, bad)]):
    put[0](put[1], name + ".new")
    os.replace(name + ".new", name)
"""
# Writes to its own file while it is loaded.
WRITER = """
class Writer:
    def __init__(self, path):
        self.path = path
    def predict(self, X):
        return X
    def __setstate__(self, state):
        with open(state["path"], "ab") as file:
            file.write(b"!")
"""


class Payload:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def opened(path: Path, digest: str | None = None) -> Iterator[CheckedFile]:
    file = CheckedFile(path, digest)
    try:
        yield file
    finally:
        file.close()


def load(folder: Path, digest: str) -> Any:
    config = make_config(outputs=[("y", "int64", (1,))], kind="joblib", model_file="m.joblib", model_sha256=digest)
    return load_predictor(folder, config)({"x": X}).tolist()


def write_good(path: Path) -> str:
    joblib.dump(LogisticRegression().fit(X, X[:, 0]), path)
    return sha256(path.read_bytes())


def write_bad(path: Path, canary: Path, size: int) -> None:
    """As long as the good one: what stands behind a pickle's end is not read."""
    path.write_bytes(pickle.dumps(Payload(canary)).ljust(size, b"."))


@pytest.mark.parametrize("content", [b"", b"some bytes", bytes(9 * MIB + 1)])
def test_the_bytes_that_were_built_are_right_and_no_others(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with opened(tmp_path / "m", sha256(content)) as file:
        file.verify()
    with (
        opened(tmp_path / "m", sha256(content + b"!")) as file,
        pytest.raises(LoadError, match="m is not the file that was built: its sha256 is another: build the repository"),
    ):
        file.verify()


def test_the_path_is_of_the_open_file_whatever_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("good")
    (tmp_path / "other").write_text("bad!")
    with opened(tmp_path / "m", sha256(b"good")) as file:
        file.verify()
        os.replace(tmp_path / "other", tmp_path / "m")
        # Its last name is gone, which is no change of it.
        file.verify()
        assert Path(file.path).read_text() == "good"
        assert subprocess.run(["cat", file.path], capture_output=True, check=True).stdout == b"good"


def test_what_is_written_to_a_file_after_it_was_hashed_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text("good")
    with opened(path, sha256(b"good")) as file:
        file.verify()
        before = path.stat()
        path.write_text("bad!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(LoadError, match="m is not the file that was built"):
            file.verify()
        path.write_text("good")
        file.verify()


def make_link(path: Path) -> None:
    path.with_name("other").write_text("good")
    path.symlink_to("other")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link, r"cannot be opened as a regular file \(Too many levels of symbolic links\)"),
        (os.mkfifo, "is no regular file"),
        (os.mkdir, "is no regular file"),
        (lambda path: None, r"cannot be opened as a regular file \(No such file or directory\)"),
    ],
)
def test_only_a_regular_file_is_opened_and_no_path_is_told(tmp_path: Path, make: Any, reason: str) -> None:
    make(tmp_path / "m")
    with pytest.raises(LoadError, match=f"m {reason}: build the repository again") as caught:
        CheckedFile(tmp_path / "m", sha256(b"good"))
    assert str(tmp_path) not in str(caught.value)


def test_A46_a_swapped_model_is_not_unpickled(tmp_path: Path) -> None:
    digest = write_good(tmp_path / "m.joblib")
    assert load(tmp_path, digest) == [0, 0, 1, 1]
    write_bad(tmp_path / "m.joblib", tmp_path / "canary", (tmp_path / "m.joblib").stat().st_size)
    with pytest.raises(LoadError, match=r"m\.joblib is not the file that was built"):
        load(tmp_path, digest)
    assert not (tmp_path / "canary").exists()


def test_a_model_that_an_older_release_built_loads_without_a_sum(tmp_path: Path) -> None:
    write_good(tmp_path / "m.joblib")
    config = make_config(outputs=[("y", "int64", (1,))], kind="joblib", model_file="m.joblib")
    assert load_predictor(tmp_path, config)({"x": X}).tolist() == [0, 0, 1, 1]


def test_A46_a_race_of_names_and_links_gives_the_built_bytes_or_a_refusal(tmp_path: Path) -> None:
    """Until each came often: what is loaded is what was hashed, whatever the name means a moment later."""
    good, bad, name = tmp_path / "good", tmp_path / "bad", tmp_path / "m.joblib"
    digest = write_good(good)
    write_bad(bad, tmp_path / "canary", good.stat().st_size)
    name.write_bytes(good.read_bytes())
    flipper = subprocess.Popen([sys.executable, "-c", FLIPPER, str(good), str(bad), str(name)])
    try:
        loaded = refused = 0
        while min(loaded, refused) < 100:
            assert flipper.poll() is None
            try:
                assert load(tmp_path, digest) == [0, 0, 1, 1]
                loaded += 1
            except LoadError:
                refused += 1
    finally:
        flipper.kill()
        flipper.wait()
    assert not (tmp_path / "canary").exists()


def test_A46_a_file_that_is_written_to_while_it_is_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_writer.py").write_text(WRITER)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "m.joblib"
    joblib.dump(__import__("users_writer").Writer(str(path)), path)
    with pytest.raises(LoadError, match=r"m\.joblib is not the file that was built"):
        load(tmp_path, sha256(path.read_bytes()))


def test_a_model_that_is_gone_leaves_no_open_file(tmp_path: Path) -> None:
    digest = write_good(tmp_path / "m.joblib")
    before = sorted(os.listdir("/proc/self/fd"))
    load(tmp_path, digest)
    with pytest.raises(LoadError):
        load(tmp_path, sha256(b"another"))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_mapped_arrays_reach_joblibs_own_processes(tmp_path: Path) -> None:
    """By the name of the file that they are mapped from, which is another file's by now."""
    path = tmp_path / "m.joblib"
    joblib.dump({"array": np.arange(100_000.0)}, path)
    with opened(path) as file:
        array = read_joblib(file)["array"]
        assert isinstance(array, np.memmap)
        path.unlink()
        path.write_bytes(b"another")
        sums = joblib.Parallel(n_jobs=2)(joblib.delayed(np.sum)(part) for part in (array, array[:2]))
    assert sums == [4999950000.0, 1.0]
