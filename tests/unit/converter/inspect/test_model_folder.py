"""The files of a model's folder: which are listed, which are refused, and whether they stay what they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.errors import ConfigError
from converter.inspect import model_folder
from converter.inspect.model_folder import check_unchanged, list_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with two files, beside other things."""
    made = tmp_path / "models" / "m"
    (made / "below").mkdir(parents=True)
    (made / "m.joblib").write_bytes(b"model")
    (made / "below" / "data").write_bytes(b"data")
    (tmp_path / "models" / "shared").write_bytes(b"shared")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_bytes(b"secret")
    return made


def test_files_are_listed_by_their_path_and_what_is_nobodys_business_is_left_out(folder: Path) -> None:
    for name in ("__pycache__/a.pyc", ".git/HEAD", "below/.ipynb_checkpoints/x", ".DS_Store", "code.pyc", "code.pyo"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    # What a build writes.
    for name in ("requirements.lock", "requirements.lock.new"):
        (folder / name).write_bytes(b"x")
    found = list_files(folder, [])
    assert {name: file.path for name, file in found.items()} == {
        "m.joblib": folder / "m.joblib",
        "below/data": folder / "below" / "data",
    }
    check_unchanged(found)


def test_a_lock_below_the_folder_is_a_file_of_the_users(folder: Path) -> None:
    (folder / "below" / "requirements.lock").write_bytes(b"x")
    assert "below/requirements.lock" in list_files(folder, [])


@pytest.mark.parametrize("target", ["m.joblib", "../shared", "../../elsewhere/secret"])
def test_links_may_end_in_the_folder_and_where_it_is_allowed(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    allowed = [folder.parent, folder.parents[1] / "elsewhere"]
    assert list_files(folder, allowed)["link"].path == (folder / target).resolve()
    # The folder itself may be a link of the operator's.
    (folder.parent / "n").symlink_to("m")
    assert list(list_files(folder.parent / "n", allowed)) == ["link", "m.joblib", "below/data"]


def link_out(folder: Path) -> None:
    (folder / "bad").symlink_to("../../elsewhere/secret")


def link_to_folder(folder: Path) -> None:
    (folder / "bad").symlink_to("below")


def link_to_nothing(folder: Path) -> None:
    (folder / "bad").symlink_to("nowhere")


def link_to_itself(folder: Path) -> None:
    (folder / "bad").symlink_to("bad")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "bad")


def depth(folder: Path) -> None:
    (folder / "/".join("d" * 65)).mkdir(parents=True)


def size(folder: Path) -> None:
    with open(folder / "bad", "wb") as file:
        file.truncate(model_folder.MOST_BYTES)


REFUSED: dict[Callable[[Path], None], str] = {
    link_out: r"/m/bad: a link to .*/elsewhere/secret, outside of .*/models: copy it here, or let SCHWIFT_MODEL_LINKS",
    link_to_folder: r"/m/bad: a link to a folder is not copied: put the folder itself here$",
    link_to_nothing: r"/m/bad: not a regular file, or a link to nothing: remove it$",
    link_to_itself: r"/m/bad: cannot be read: ",
    pipe: r"/m/bad: not a regular file, or a link to nothing: remove it$",
    depth: r"/m: folders in folders, over 64 deep: remove them$",
    # A file with holes takes no room on the disk.
    size: r"/m/.*: with it the model's files are \d+ bytes, and 17179869184 are the most: keep what the model does not",
}


@pytest.mark.parametrize("make", REFUSED)
def test_A22_what_cannot_be_copied_is_refused_with_the_remedy(folder: Path, make: Callable[[Path], None]) -> None:
    make(folder)
    with pytest.raises(ConfigError, match=REFUSED[make]):
        list_files(folder, [folder.parent])


def test_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/gone: cannot be read: No such file or directory: let the build's user"):
        list_files(tmp_path / "gone", [])


def rewrite(path: Path) -> None:
    path.write_bytes(b"other")


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(b"model")
    path.with_name("new").rename(path)


def turn_into_link(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.symlink_to("old")


@pytest.mark.parametrize("change", [rewrite, replace, turn_into_link, Path.unlink])
def test_A22_file_that_changes_while_it_is_inspected_is_not_copied(
    folder: Path, change: Callable[[Path], None]
) -> None:
    found = list_files(folder, [])
    change(folder / "m.joblib")
    with pytest.raises(ConfigError, match=r"/m/m.joblib: changed while it was inspected: build again when nothing"):
        check_unchanged(found)
