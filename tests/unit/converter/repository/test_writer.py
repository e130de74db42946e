"""The switch from one repository to the next: whole at every step, and of nothing that is not ours."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converter.errors import RepositoryError
from converter.repository import writer
from converter.repository.build_plan import Changes, compare, complete_plan
from converter.repository.content import Plan, read_files
from converter.repository.current import read_current
from converter.repository.runtime_files import TEMPLATE_ROOT
from converter.repository.writer import commit
from converter.schema.manifest import Manifest, read_manifest
from tests.support.models.repositories import build, contents, numbers, versions, whole
from tests.support.models.sample_models import add_joblib

ROOT = Path(__file__).parents[4]


def build_version(root: Path, version: str) -> None:
    add_joblib(root / "models", "a", version=version)
    build(root)


def version_of(root: Path) -> str:
    return versions(whole(root / "repo"))["a"]


def as_plain_folder(root: Path) -> None:
    """The repository as `cp -rL` leaves it: a folder in place of the link."""
    real = (root / "repo").resolve()
    (root / "repo").unlink()
    shutil.copytree(real, root / "repo")


class Failing:
    """A function that fails at its nth call, and else does what the one it stands for does."""

    def __init__(self, function: Callable[..., Any], at: int, error: BaseException) -> None:
        self.function, self.left, self.error = function, at, error

    def __call__(self, *arguments: Any, **keys: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.function(*arguments, **keys)

    def method(self) -> Callable[..., Any]:
        return lambda *arguments, **keys: self(*arguments, **keys)


STEPS = [
    ("mkdir", Path, "mkdir", 1),
    ("later mkdir", Path, "mkdir", 5),
    ("first file", Path, "write_bytes", 1),
    ("manifest", Path, "write_bytes", 3),
    ("first copy", writer, "copy_regular_file", 1),
    ("later copy", writer, "copy_regular_file", 9),
    ("sync of all files", writer, "sync_all", 1),
    ("rename of the build", Path, "rename", 1),
    ("link", Path, "symlink_to", 1),
    ("switch", os, "replace", 1),
]


@pytest.mark.parametrize(("owner", "name", "at"), [step[1:] for step in STEPS], ids=[step[0] for step in STEPS])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"]
)
def test_R25_failure_at_each_step_leaves_the_old_repository_and_the_next_build_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, at: int, error: BaseException
) -> None:
    build_version(tmp_path, "1")
    before = contents(tmp_path / "repo")
    add_joblib(tmp_path / "models", "a", version="2")
    with monkeypatch.context() as patch:
        failing = Failing(getattr(owner, name), at, error)
        patch.setattr(owner, name, failing.method())
        with pytest.raises((RepositoryError, KeyboardInterrupt)) as caught:
            build(tmp_path)
    assert failing.left <= 0, "the step was never reached"
    if isinstance(error, OSError):
        assert str(caught.value) == (f"{tmp_path}/repo: the repository could not be written: No space left on device")
    assert contents(tmp_path / "repo") == before
    assert version_of(tmp_path) == "1"
    assert [number for number in numbers(tmp_path) if "partial" in number] == []
    build(tmp_path)
    assert version_of(tmp_path) == "2"


def test_a_copy_of_a_repository_with_a_users_file_in_it_is_left_alone(tmp_path: Path) -> None:
    build_version(tmp_path, "1")
    as_plain_folder(tmp_path)
    notes = tmp_path / "repo" / "a" / "notes.txt"
    notes.write_text("mine")
    add_joblib(tmp_path / "models", "a", version="2")
    with pytest.raises(RepositoryError, match=r"notes\.txt is not of the repository"):
        build(tmp_path)
    assert notes.read_text() == "mine"
    notes.unlink()
    build(tmp_path)
    assert version_of(tmp_path) == "2"


@pytest.mark.parametrize("name", ["symlink_to", "_exchange"])
def test_failed_switch_leaves_a_plain_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    build_version(tmp_path, "1")
    as_plain_folder(tmp_path)
    add_joblib(tmp_path / "models", "a", version="2")
    with monkeypatch.context() as patch:
        owner: Any = writer if name == "_exchange" else Path
        patch.setattr(owner, name, Failing(getattr(owner, name), 1, OSError(errno.EIO, "I/O error")).method())
        with pytest.raises(RepositoryError):
            build(tmp_path)
    assert (tmp_path / "repo").is_dir(), "the repository is gone"
    assert version_of(tmp_path) == "1"


def versions_found_when_killed(tmp_path: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.models.killed_build", str(tmp_path), *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_R26_kill_at_each_step_leaves_the_old_repository_or_the_new_one(tmp_path: Path) -> None:
    found = versions_found_when_killed(tmp_path)
    assert len(found) > 40, "a build has more steps than that"
    switch = found.index("2")
    assert found == ["1"] * switch + ["2"] * (len(found) - switch)
    assert switch > len(found) - 5, "the switch comes last"


def test_R26_kill_while_a_plain_folder_is_replaced_leaves_one_of_the_two(tmp_path: Path) -> None:
    found = versions_found_when_killed(tmp_path, "copy")
    assert found[-1] == "2"
    assert [what for what in found if what not in ("1", "2")] == []


def test_files_of_one_source_are_one_file(tmp_path: Path) -> None:
    """The runtime lies beside each Triton model, in a thousand of which it would be most of what is written."""
    build_version(tmp_path, "1")
    files = [tmp_path / "repo" / name / "1" / "schwift_runtime" / "model.py" for name in ("a", "a_direct")]
    assert files[0].samefile(files[1])
    assert not files[0].samefile(TEMPLATE_ROOT / "runtime" / "model.py")


def test_files_that_did_not_change_are_those_of_the_build_before(tmp_path: Path) -> None:
    build_version(tmp_path, "1")
    file = "1/schwift_runtime/model.py"
    before = (tmp_path / "repo").resolve() / "a" / file
    build_version(tmp_path, "2")
    now = tmp_path / "repo" / "a" / file
    assert now.samefile(tmp_path / "repo" / "a_direct" / file)
    assert now.samefile(before)
    new = tmp_path / "repo" / "a" / "2/schwift_runtime/model.py"
    assert not new.samefile(before)
    build_version(tmp_path, "3")
    # It outlives the build that it was made for.
    assert not before.exists()
    assert new.read_bytes() == (TEMPLATE_ROOT / "runtime" / "model.py").read_bytes()


def test_a_file_system_without_links_has_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    build_version(tmp_path, "1")
    build_version(tmp_path, "2")
    assert version_of(tmp_path) == "2"
    files = [tmp_path / "repo" / name / "1" / "schwift_runtime" / "model.py" for name in ("a", "a_direct")]
    assert not files[0].samefile(files[1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_last_two_builds_are_kept(tmp_path: Path) -> None:
    for number, kept in [("1", ["000001"]), ("2", ["000001", "000002"]), ("3", ["000002", "000003"])]:
        build_version(tmp_path, number)
        assert numbers(tmp_path) == kept
    assert os.readlink(tmp_path / "repo") == ".repo.builds/000003"
    assert versions(whole(tmp_path / ".repo.builds" / "000002")) == {"a": "2"}


def test_build_that_was_served_is_kept_though_a_switch_failed_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_version(tmp_path, "1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", Failing(os.replace, 1, OSError(errno.EIO, "I/O error")).method())
        with pytest.raises(RepositoryError):
            build_version(tmp_path, "2")
    build_version(tmp_path, "3")
    assert version_of(tmp_path) == "3"
    # A Triton that loaded version 1 has it open still.
    assert (tmp_path / ".repo.builds" / "000001").is_dir()


def test_leftovers_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    build_version(tmp_path, "1")
    (tmp_path / ".repo.builds" / "000002.partial" / "a").mkdir(parents=True)
    (tmp_path / ".repo.link").symlink_to("nowhere")
    build_version(tmp_path, "2")
    assert numbers(tmp_path) == ["000001", "000002"]
    assert not os.path.lexists(tmp_path / ".repo.link")


def test_numbers_go_on_after_nine(tmp_path: Path) -> None:
    build_version(tmp_path, "1")
    (tmp_path / ".repo.builds" / "000001").rename(tmp_path / ".repo.builds" / "000009")
    (tmp_path / "repo").unlink()
    (tmp_path / "repo").symlink_to(".repo.builds/000009")
    build_version(tmp_path, "2")
    assert numbers(tmp_path) == ["000009", "000010"]


def test_copy_of_a_repository_is_replaced(tmp_path: Path) -> None:
    build_version(tmp_path, "1")
    as_plain_folder(tmp_path)
    build_version(tmp_path, "2")
    assert (tmp_path / "repo").is_symlink()
    assert version_of(tmp_path) == "2"


def test_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    build_version(tmp_path, "1")
    assert version_of(tmp_path) == "1"


def test_link_to_a_build_that_is_gone_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "repo").symlink_to(".repo.builds/000007")
    build_version(tmp_path, "1")
    assert version_of(tmp_path) == "1"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_foreign_output_is_refused_and_untouched(tmp_path: Path, kind: str) -> None:
    add_joblib(tmp_path / "models", "a")
    output = tmp_path / "repo"
    if kind == "folder":
        output.mkdir()
        (output / "thesis.txt").write_text("years of work")
    else:
        output.write_text("years of work")
    before = contents(tmp_path)
    with pytest.raises(RepositoryError) as caught:
        build(tmp_path)
    assert str(caught.value) == (
        f"{output} is there and was not written by `schwift build-repo`: name another folder with --output"
    )
    assert caught.value.exit_code == 1
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "repo"]


def test_link_to_a_foreign_folder_is_refused_with_a_remedy_that_helps(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.txt").write_text("years of work")
    (tmp_path / "repo").symlink_to("thesis")
    with pytest.raises(RepositoryError) as caught:
        build(tmp_path)
    assert (tmp_path / "thesis" / "one.txt").read_text() == "years of work"
    assert "--output" in str(caught.value), "`build-repo` was just run, and is no remedy"


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b'{"format": 2, "models": []}', b"\xff"])
def test_manifest_that_cannot_be_read_says_to_build_anew_and_that_works(tmp_path: Path, content: bytes) -> None:
    build_version(tmp_path, "1")
    path = tmp_path / "repo" / "schwift.json"
    path.write_bytes(content)
    with pytest.raises(RepositoryError) as caught:
        read_manifest(tmp_path / "repo")
    assert str(caught.value) == (
        f"{path} cannot be read as a manifest of this release: build it anew with `schwift build-repo`"
    )
    build(tmp_path)
    assert version_of(tmp_path) == "1"


def test_repository_that_is_not_there_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/schwift.json is not there: build the repository with `schwift build-repo`"
    )
    assert read_current(tmp_path / "repo") is None


def test_parent_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError) as caught:
        build(tmp_path, output="file/repo")
    assert str(caught.value) == f"{tmp_path}/file/repo: the repository could not be written: Not a directory"


def test_parents_of_the_repository_are_made(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path, output="deep/down/repo")
    assert versions(whole(tmp_path / "deep" / "down" / "repo")) == {"a": "1.0.0"}


def test_file_that_changes_while_it_is_copied_stops_the_build(tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(b"old")
    plan = complete_plan(tmp_path / "repo", [Plan((), read_files({"a/weights": source}))], None)
    source.write_bytes(b"new")
    with pytest.raises(RepositoryError, match=r"^.*/weights changed while it was copied: build again$"):
        commit(plan)
    assert not os.path.lexists(tmp_path / "repo")
    assert numbers(tmp_path) == []


def test_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        read_files({"a": tmp_path / "gone"})
    assert str(caught.value) == f"{tmp_path}/gone: cannot be read: No such file or directory"


def test_digests_are_of_the_content_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 1_000_000)
    files = read_files({"a": tmp_path / "file", "b": b"abc" * 1_000_000, "c": b"abc"})
    found = {name: file.digest for name, file in files.items()}
    assert found["c"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found["a"] == found["b"] != found["c"]


def test_differences_are_named_by_kind() -> None:
    old = Manifest(models=(), files={"same": "1", "other": "2", "gone": "3"})
    new = Manifest(models=(), files={"same": "1", "other": "9", "new": "4"})
    assert compare(old, new) == Changes(("new",), ("other",), ("gone",))
    assert compare(None, new) == Changes(("same", "other", "new"), (), ())
    assert not compare(old, old)
