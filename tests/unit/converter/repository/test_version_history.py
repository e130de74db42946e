"""The numbers of a model's versions, what is kept of the older ones, and the way back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from converter.errors import ConfigError, RepositoryError
from converter.repository.build_plan import BuildPlan
from converter.repository.built import BuiltRepository
from converter.repository.content import ModelContent
from converter.repository.render import TritonModel, render
from converter.repository.version_history import VersionHistory
from converter.schema.manifest import Manifest
from tests.support.models.repositories import build, contents, roll_back, versions, whole
from tests.support.models.sample_models import add_joblib


def build_as(root: Path, version: str, **keys: object) -> Manifest:
    """Build model `a` as its author's version; the repository is whole afterwards."""
    add_joblib(root / "models", "a", version=version, **keys)
    build(root)
    return whole(root / "repo")


def back(root: Path, name: str = "a") -> BuildPlan:
    done = roll_back(root, name)
    assert whole(root / "repo") == done.manifest
    return done


def folders(root: Path, name: str = "a_direct") -> list[str]:
    return sorted(path.name for path in (root / "repo" / name).iterdir() if path.is_dir())


def served(manifest: Manifest, name: str = "a") -> tuple[int, str, list[int]]:
    """Number and author's version of what is served, and the numbers of the others."""
    entry = manifest.model(name)
    assert entry is not None
    return entry.version, entry.spec.version, [item.version for item in manifest.older_of(name)]


def policy(root: Path, name: str) -> list[int]:
    text = (root / "repo" / name / "config.pbtxt").read_text()
    return list(text_format.Parse(text, model_config_pb2.ModelConfig()).version_policy.specific.versions)


def test_changed_model_is_the_next_version_and_the_one_before_is_kept(tmp_path: Path) -> None:
    assert served(build_as(tmp_path, "one")) == (1, "one", [])
    assert (policy(tmp_path, "a"), policy(tmp_path, "a_direct")) == ([1], [1])
    first = contents(tmp_path / "repo")
    manifest = build_as(tmp_path, "two")
    assert served(manifest) == (2, "two", [1])
    assert (policy(tmp_path, "a"), policy(tmp_path, "a_direct")) == ([2], [2])
    now = contents(tmp_path / "repo")
    old = [name for name in first if "/1/" in name]
    assert [name for name in old if now[name] != first[name]] == []
    assert manifest.older[0].configs["a_direct"].encode() == first["a_direct/config.pbtxt"]
    assert manifest.older[0].entry.spec.version == "one"
    # By default the last two are kept.
    assert served(build_as(tmp_path, "three")) == (3, "three", [2])
    assert folders(tmp_path) == folders(tmp_path, "a") == ["2", "3"]


def test_unchanged_model_keeps_its_number_and_its_bytes(tmp_path: Path) -> None:
    build_as(tmp_path, "one")
    build_as(tmp_path, "two")
    before = contents(tmp_path / "repo")
    assert not build(tmp_path).changes
    add_joblib(tmp_path / "models", "b")
    build(tmp_path)
    after = contents(tmp_path / "repo")
    assert [name for name in before if after[name] != before[name]] == ["schwift.json"]
    assert served(whole(tmp_path / "repo")) == (2, "two", [1])


@pytest.mark.parametrize(("keep", "kept"), [(1, ["5"]), (3, ["3", "4", "5"]), (9, ["1", "2", "3", "4", "5"])])
def test_as_many_versions_are_kept_as_the_config_says(tmp_path: Path, keep: int, kept: list[str]) -> None:
    for number in range(1, 6):
        build_as(tmp_path, f"v{number}", versions=keep)
    assert folders(tmp_path) == kept


def test_model_that_is_removed_takes_its_versions_along(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "b")
    build_as(tmp_path, "one")
    build_as(tmp_path, "two")
    shutil.rmtree(tmp_path / "models" / "a")
    build(tmp_path)
    manifest = whole(tmp_path / "repo")
    assert (versions(manifest), manifest.older) == ({"b": "1.0.0"}, ())
    assert not (tmp_path / "repo" / "a_direct").exists()
    # Its numbers are not given again: what Triton's cache has of them is of the old model.
    assert served(build_as(tmp_path, "one")) == (3, "one", [])


def test_rollback_serves_the_version_before_as_it_was(tmp_path: Path) -> None:
    build_as(tmp_path, "one", rush_batch_size=64, preferred_batch_size=[8])
    first = contents(tmp_path / "repo")
    add_joblib(tmp_path / "models", "b")
    build_as(tmp_path, "two")
    others = {name: data for name, data in contents(tmp_path / "repo").items() if name.startswith("b")}
    done = back(tmp_path)
    assert served(done.manifest) == (1, "one", [2])
    assert [entry.name for entry in done.built] == ["a"]
    now = contents(tmp_path / "repo")
    assert {name: now[name] for name in first if name != "schwift.json"} == {
        name: data for name, data in first.items() if name != "schwift.json"
    }
    assert {name: data for name, data in now.items() if name.startswith("b")} == others
    assert (tmp_path / "repo").resolve().name == "000003", "a build of its own, so that Triton takes it for new"


def test_version_that_was_rolled_back_is_not_served_again_by_a_build(tmp_path: Path) -> None:
    build_as(tmp_path, "one")
    build_as(tmp_path, "two")
    back(tmp_path)
    before = contents(tmp_path / "repo")
    again = build(tmp_path)
    assert not again.changes
    assert again.notes == (
        "a: version 1 stays, since models/ has version 2, which was rolled back: change the model to serve it anew",
    )
    assert contents(tmp_path / "repo") == before
    # The model as it was before is the served one, and no news either.
    add_joblib(tmp_path / "models", "a", version="one")
    assert (build(tmp_path).changes.models, build(tmp_path).notes) == ((), ())
    # A change is a version of its own, under a number that none had; the one that was gone back from is dropped.
    assert served(build_as(tmp_path, "three")) == (3, "three", [1])


def test_rollback_goes_on_from_version_to_version(tmp_path: Path) -> None:
    for version in ("one", "two", "three"):
        build_as(tmp_path, version, versions=3)
    assert served(back(tmp_path).manifest) == (2, "two", [1, 3])
    assert served(back(tmp_path).manifest) == (1, "one", [2, 3])
    with pytest.raises(ConfigError, match=r"^a: the repository has no version before 1: .*`versions: 3`"):
        roll_back(tmp_path, "a")
    assert served(whole(tmp_path / "repo")) == (1, "one", [2, 3])


def test_rollback_of_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="nothing is built here"):
        roll_back(tmp_path, "a")
    build_as(tmp_path, "one")
    with pytest.raises(ConfigError, match=r"^aa: no model of the repository has this name \(did you mean a\?\)$"):
        roll_back(tmp_path, "aa")


def test_damaged_older_version_is_left_out_with_a_note_and_not_gone_back_to(tmp_path: Path) -> None:
    build_as(tmp_path, "one", versions=3)
    build_as(tmp_path, "two", versions=3)
    (tmp_path / "repo" / "a_direct" / "1" / "model.py").write_text("other")
    with pytest.raises(RepositoryError, match=r"^a: version 1 is damaged in the repository"):
        roll_back(tmp_path, "a")
    add_joblib(tmp_path / "models", "a", version="three", versions=3)
    assert build(tmp_path).notes == ("a: version 1 is damaged in the repository, and of no use any more",)
    assert served(whole(tmp_path / "repo")) == (3, "three", [2])


@pytest.mark.parametrize("how", ["swapped", "written", "linked", "removed"])
def test_served_version_that_is_not_as_it_was_built_is_built_anew(tmp_path: Path, how: str) -> None:
    build_as(tmp_path, "one")
    build_as(tmp_path, "two")
    file = tmp_path / "repo" / "a_direct" / "2" / "source" / "models" / "a" / "m.joblib"
    good = file.read_bytes()
    if how == "written":
        file.write_bytes(good.upper())
    else:
        file.rename(tmp_path / "elsewhere")
        if how == "swapped":
            file.write_bytes(good.upper())
        elif how == "linked":
            file.symlink_to(tmp_path / "elsewhere")
    notes = build(tmp_path).notes
    assert notes == ("a: version 2 is not in the repository as it was built, and is built anew",)
    assert served(whole(tmp_path / "repo")) == (3, "two", [1])
    assert (tmp_path / "repo" / "a_direct" / "3" / "source" / "models" / "a" / "m.joblib").read_bytes() == good


def test_served_version_that_was_only_touched_stays(tmp_path: Path) -> None:
    build_as(tmp_path, "one")
    for path in (tmp_path / "repo").rglob("*"):
        path.chmod(0o700)
    assert not build(tmp_path).changes


def test_named_build_leaves_the_versions_of_the_others(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "b", version="one")
    build_as(tmp_path, "one")
    add_joblib(tmp_path / "models", "b", version="two")
    build_as(tmp_path, "two")
    add_joblib(tmp_path / "models", "b", version="three")
    build(tmp_path, only=["b"])
    manifest = whole(tmp_path / "repo")
    assert (served(manifest), served(manifest, "b")) == ((2, "two", [1]), (3, "three", [2]))


def test_changed_model_is_rendered_once_whatever_it_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("one", "two", "three"):
        build_as(tmp_path, version, versions=3)
    roll_back(tmp_path, "a")
    roll_back(tmp_path, "a")
    rendered: list[str] = []

    def record(model: TritonModel) -> str:
        rendered.append(model.name)
        return render(model)

    monkeypatch.setattr("converter.repository.plan.render", record)
    assert served(build_as(tmp_path, "four", versions=3)) == (4, "four", [1])
    assert rendered == ["a_direct", "a"]


def test_fingerprint_goes_by_the_content_and_not_by_the_number(tmp_path: Path) -> None:
    def content_of(author_version: str) -> ModelContent:
        manifest = build_as(tmp_path, author_version)
        history = VersionHistory("a", BuiltRepository(manifest, tmp_path / "repo"))
        version = history.find_served()
        assert version is not None
        return history.recall_content(version)

    first, second, again = content_of("one"), content_of("two"), content_of("one")
    assert first.fingerprint == again.fingerprint != second.fingerprint
    for other in (
        replace(first, configs={**first.configs, "a": first.configs["a"] + "\n"}),
        replace(first, files=dict(list(first.files.items())[1:])),
        replace(first, files={**first.files, "a/model.py": first.files["a/wake_key"]}),
        replace(first, entry=first.entry.model_copy(update={"queue_size": 1})),
    ):
        assert other.fingerprint != first.fingerprint
