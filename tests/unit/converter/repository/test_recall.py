"""A model's folder that is as it was is not looked into again; whatever is not, is."""

from __future__ import annotations

import ast
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

import converter
from converter import build as build_module
from converter.inspect import inspector
from converter.inspect.discover import ModelSource
from converter.repository import stamps
from tests.support.models.packable_models import PACKED
from tests.support.models.repositories import build, numbers, roll_back, versions, whole
from tests.support.models.sample_models import OPTIONS, add_joblib, options_of

_LATER_NS = 10_000_000_000


@pytest.fixture
def looked_into(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that builds look into, in order; all files count as written long before."""
    found: list[str] = []
    inspect_all, now = inspector.inspect_all, time.time_ns

    def noting(sources: tuple[ModelSource, ...], *rest: object) -> object:
        found.extend(source.spec.name for source in sources)
        return inspect_all(sources, *rest)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(build_module, "inspect_all", noting)
    monkeypatch.setattr(time, "time_ns", lambda: now() + _LATER_NS)
    return found


def built_twice(tmp_path: Path, looked_into: list[str]) -> None:
    """Models a and b, built, and built again without a look into them."""
    for name in ("a", "b"):
        add_joblib(tmp_path / "models", name)
    build(tmp_path)
    assert looked_into == ["a", "b"]
    assert not build(tmp_path).changes
    assert looked_into == ["a", "b"]
    looked_into.clear()


def test_only_what_changed_is_looked_into(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    add_joblib(tmp_path / "models", "b", version="2")
    plan = build(tmp_path)
    assert looked_into == ["b"]
    manifest = whole(tmp_path / "repo")
    assert versions(manifest) == {"a": "1.0.0", "b": "2"}
    assert [(entry.name, entry.version) for entry in plan.built] == [("a", 1), ("b", 2)]
    looked_into.clear()
    assert not build(tmp_path).changes
    assert looked_into == []


def test_a_file_of_the_same_size_and_time_is_another_file(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    path = tmp_path / "models" / "a" / "m.joblib"
    seen, content = path.stat(), path.read_bytes()
    path.write_bytes(content.replace(b"pickle of a", b"pickle of c"))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    build(tmp_path)
    assert looked_into == ["a"]
    assert b"pickle of c" in (tmp_path / "repo/a_direct/2/source/models/a/m.joblib").read_bytes()


def test_files_just_written_are_looked_at_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could change within the same step of the file system's clock."""
    add_joblib(tmp_path / "models", "a")
    assert build(tmp_path).stamps.folders == {}


def test_new_and_removed_models_and_renamed_folders(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    add_joblib(tmp_path / "models", "c")
    (tmp_path / "models" / "a").rename(tmp_path / "models" / "folder")
    shutil.rmtree(tmp_path / "models" / "b")
    build(tmp_path)
    assert looked_into == ["a", "c"]
    assert versions(whole(tmp_path / "repo")) == {"a": "1.0.0", "c": "1.0.0"}


def test_other_settings_and_other_libraries_are_another_build(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    build(tmp_path, options=options_of(max_batch_size=7))
    assert looked_into == ["a", "b"]
    assert {entry.direct_max_rows for entry in whole(tmp_path / "repo").models} == {7}
    looked_into.clear()
    build(tmp_path, options=replace(OPTIONS, cores=OPTIONS.cores + 1))
    assert looked_into == ["a", "b"]


@pytest.mark.parametrize(
    "path", ["a/config.pbtxt", "a_direct/config.pbtxt", "a/1/wake_key", "a_direct/1/source/models/a/m.joblib"]
)
def test_what_was_spoiled_in_the_repository_is_built_anew(tmp_path: Path, looked_into: list[str], path: str) -> None:
    built_twice(tmp_path, looked_into)
    (tmp_path / "repo" / path).write_text("spoiled")
    build(tmp_path)
    assert looked_into == ["a"]
    whole(tmp_path / "repo")


def test_a_spoiled_file_is_not_carried_into_the_next_build(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    (tmp_path / "repo/a_direct/1/source/models/a/m.joblib").write_bytes(b"spoiled")
    add_joblib(tmp_path / "models", "b", version="2")
    build(tmp_path)
    assert set(looked_into) == {"a", "b"}
    whole(tmp_path / "repo")


def test_a_version_that_was_rolled_back_stays_so(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    add_joblib(tmp_path / "models", "a", version="2")
    build(tmp_path)
    roll_back(tmp_path, "a")
    looked_into.clear()
    plan = build(tmp_path)
    assert looked_into == ["a"]
    assert plan.notes == (
        "a: version 1 stays, since models/ has version 2, which was rolled back: change the model to serve it anew",
    )
    assert versions(whole(tmp_path / "repo"))["a"] == "1.0.0"


def test_one_model_alone_keeps_what_is_known_of_the_others(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    add_joblib(tmp_path / "models", "b", version="2")
    build(tmp_path, only=["b"])
    assert looked_into == ["b"]
    looked_into.clear()
    assert not build(tmp_path).changes
    assert looked_into == []


def test_notes_are_said_again(tmp_path: Path, looked_into: list[str]) -> None:
    add_joblib(tmp_path / "models", "a", instances=OPTIONS.cores + 1)
    first = build(tmp_path).notes
    assert first and build(tmp_path).notes == first
    assert looked_into == ["a"]


def test_packed_models_are_recalled_and_their_host_follows(tmp_path: Path, looked_into: list[str]) -> None:
    for name in ("a", "b", "c"):
        add_joblib(tmp_path / "models", name)
    build(tmp_path, options=PACKED)
    assert not build(tmp_path, options=PACKED).changes
    assert looked_into == ["a", "b", "c"]
    looked_into.clear()
    shutil.rmtree(tmp_path / "models" / "c")
    build(tmp_path, options=PACKED)
    assert looked_into == []
    manifest = whole(tmp_path / "repo")
    assert [(entry.host, entry.version) for entry in manifest.models] == [("default_pack_direct", 1)] * 2
    assert [host.version for host in manifest.hosts] == [2]


def test_a_model_whose_mate_comes_or_goes_is_looked_into(tmp_path: Path, looked_into: list[str]) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path, options=PACKED)
    add_joblib(tmp_path / "models", "b")
    build(tmp_path, options=PACKED)
    # It is found once the new one is looked into.
    assert looked_into == ["a", "b", "a", "b"]
    assert [entry.host for entry in whole(tmp_path / "repo").models] == ["default_pack_direct"] * 2
    shutil.rmtree(tmp_path / "models" / "a")
    build(tmp_path, options=PACKED)
    assert [(entry.name, entry.host) for entry in whole(tmp_path / "repo").models] == [("b", None)]


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"context": 3}', b'{"context": "", "folders": {}}'])
def test_without_stamps_that_can_be_read_all_is_looked_into(
    tmp_path: Path, looked_into: list[str], content: bytes | None
) -> None:
    built_twice(tmp_path, looked_into)
    path = tmp_path / ".repo.builds" / "stamps.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert not build(tmp_path).changes
    assert looked_into == ["a", "b"]


def test_older_versions_stay_beside_a_model_that_is_as_it_was(tmp_path: Path, looked_into: list[str]) -> None:
    built_twice(tmp_path, looked_into)
    add_joblib(tmp_path / "models", "a", version="2")
    build(tmp_path)
    add_joblib(tmp_path / "models", "b", version="2")
    looked_into.clear()
    build(tmp_path)
    assert looked_into == ["b"]
    assert [(item.name, item.version) for item in whole(tmp_path / "repo").older] == [("a", 1), ("b", 1)]
    assert numbers(tmp_path) == ["000002", "000003"]


def test_every_setting_that_a_build_reads_is_in_the_context() -> None:
    root = Path(converter.__path__[0])
    rooms = ("inspect", "packing", "repository", "trust")
    files = [root / "build.py", *(file for room in rooms for file in root.glob(f"{room}/*.py"))]
    read = {
        node.attr
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "settings")
            or (isinstance(node.value, ast.Attribute) and node.value.attr in ("settings", "_settings"))
        )
    }
    # These follow from `cache`; and how all settings are written or changed.
    derived = {"environments_directory", "cache_directory", "model_dump", "model_copy"}
    assert read - derived <= set(stamps.SETTINGS)
    assert {"max_batch_size", "environments"} <= read
