"""The lock beside a model holds for the requirements and the Python that it was made of, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from converter.environments.lock_file import hash_lock, hash_request, list_lacking, read_lock, write_lock
from converter.errors import ConfigError

LOCK = ("numpy==1.26.4", "trees==1.0")


def test_a_lock_is_read_for_its_own_request_alone(tmp_path: Path) -> None:
    request = hash_request(["trees"], "3.12")
    write_lock(tmp_path, request, LOCK)
    assert read_lock(tmp_path, request) == LOCK
    for other in (hash_request(["trees>1"], "3.12"), hash_request(["trees"], "3.13")):
        assert other != request
        assert read_lock(tmp_path, other) == ()
    assert [path.name for path in tmp_path.iterdir()] == ["requirements.lock"]
    assert (tmp_path / "requirements.lock").read_text().startswith("# Written by schwift: the packages of this model's")


def test_a_lock_that_is_right_is_not_written_again(tmp_path: Path) -> None:
    write_lock(tmp_path, "r", LOCK)
    file = tmp_path / "requirements.lock"
    before = file.stat()
    write_lock(tmp_path, "r", LOCK)
    assert file.stat() == before
    write_lock(tmp_path, "r", LOCK[:1])
    assert read_lock(tmp_path, "r") == LOCK[:1]


def test_a_folder_that_cannot_be_written_has_no_lock(tmp_path: Path) -> None:
    write_lock(tmp_path / "gone", "r", LOCK)
    assert read_lock(tmp_path / "gone", "r") == ()
    (tmp_path / "requirements.lock").write_bytes(b"\xff")
    assert read_lock(tmp_path, "r") == ()


def test_the_order_of_packages_is_no_difference() -> None:
    assert hash_lock(LOCK, "3.12") == hash_lock(LOCK[::-1], "3.12") != hash_lock(LOCK, "3.11")


@pytest.mark.parametrize(
    "line",
    [
        "-e /srv/models/m/x", "--index-url https://elsewhere", "x @ https://elsewhere/x.whl", "--no-binary :all:",
        "./x", "x.whl", "trees==1.0 --no-deps", "trees", "trees>=1", "trees==1.*", "trees[x]==1.0", "trees===1.0",
        "trees==1.0; python_version > '3'", "trees==1.0,==2.0", " -r x", "trees==1.0 \\",
    ],
)  # fmt: skip
def test_a_line_that_is_no_version_of_a_package_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.lock").write_text(f"# of: r\nnumpy==1.26.4\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        read_lock(tmp_path, "r")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path.name}/requirements.lock:3: ")
    assert problem.endswith("; or remove the file, and the build makes it anew")


def test_versions_of_all_forms_are_taken(tmp_path: Path) -> None:
    pins = ("a.b_c-d==2!1.0rc1.post2.dev3", "torch==2.5.1+cpu")
    write_lock(tmp_path, "r", pins)
    assert read_lock(tmp_path, "r") == pins


def test_a_pipe_or_a_link_is_no_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requirements.lock")
    assert read_lock(tmp_path, "r") == ()
    (tmp_path / "requirements.lock").unlink()
    write_lock(tmp_path, "r", LOCK)
    (tmp_path / "requirements.lock").rename(tmp_path / "elsewhere")
    (tmp_path / "requirements.lock").symlink_to(tmp_path / "elsewhere")
    assert read_lock(tmp_path, "r") == ()


def test_writing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    for name in ("requirements.lock", "requirements.lock.new"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    write_lock(tmp_path, "r", LOCK)
    assert read_lock(tmp_path, "r") == LOCK
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_a_lock_lacks_is_listed() -> None:
    wanted = ["trees>=1", "Numpy>=2", "leaves", "gone==1; python_version < '3'"]
    assert list_lacking(wanted, LOCK) == ["Numpy>=2", "leaves"]
    assert list_lacking(["a.b>=1", "c>=1", "d"], ["a-b==2.0rc1", "c==not a version", "damaged"]) == ["c>=1", "d"]
