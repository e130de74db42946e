"""A build from end to end: what it writes, keeps, and leaves alone."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest

from converter.errors import ArtifactError, ConfigError, SchwiftError
from converter.schema.manifest import read_manifest
from tests.support.models.repositories import build, contents, versions, whole
from tests.support.models.sample_models import add_joblib, add_model, classifier_graph, model_yaml, options_of

CLASS = b"class Model:\n    def predict(self, X):\n        return X\n"


def add_every_kind(models: Path, torch_files: Path) -> None:
    add_joblib(models, "pickled", caching=True, rush_batch_size=64)
    shapes = {"input": {"shape": [-1, 3], "dtype": "float32"}, "output": {"shape": [-1], "dtype": "int64"}}
    add_model(models, "graph", model_yaml("onnx", name="graph", **shapes), {"m.onnx": classifier_graph()})
    add_model(models, "code", model_yaml("python", name="code"), {"model.py": CLASS})
    net = (torch_files / "models" / "eager" / "net.py").read_bytes()
    pickled = (torch_files / "eager.pt").read_bytes()
    add_model(models, "eager", model_yaml("torch", name="eager", trusted=True), {"m.pt": pickled, "net.py": net})


def test_same_models_in_another_place_give_the_same_bytes(
    tmp_path: Path, torch_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The only random part.
    monkeypatch.setattr("secrets.token_hex", lambda size: "ab" * size)
    built = []
    options = options_of(trust_folders=str(tmp_path))
    for place in ("one", "another-place"):
        add_every_kind(tmp_path / place / "models", torch_files)
        build(tmp_path / place, options=options)
        whole(tmp_path / place / "repo")
        built.append(contents(tmp_path / place / "repo"))
    assert list(built[0]) == list(built[1])
    assert [name for name in built[0] if built[0][name] != built[1][name]] == []


def test_no_file_of_the_repository_names_a_folder_of_this_machine(tmp_path: Path, torch_files: Path) -> None:
    add_every_kind(tmp_path / "models", torch_files)
    build(tmp_path, options=options_of(trust_folders=str(tmp_path)))
    here = [str(tmp_path).encode(), str(Path(__file__).parents[3]).encode(), b"/site-packages/"]
    pieces = contents(tmp_path / "repo")
    for name in [name for name in pieces if name.endswith(".pt")]:
        with zipfile.ZipFile(tmp_path / "repo" / name) as archive:
            pieces.update({f"{name}:{member}": archive.read(member) for member in archive.namelist()})
    assert [name for name, content in pieces.items() if any(folder in content for folder in here)] == []


def wake_keys(root: Path) -> dict[str, str]:
    """Those of the versions that are served."""
    repo = root / "repo"
    entries = read_manifest(repo).models
    return {entry.name: (repo / entry.name / str(entry.version) / "wake_key").read_text() for entry in entries}


def test_wake_key_is_random_for_each_model_and_repository(tmp_path: Path) -> None:
    found: list[str] = []
    for place in ("one", "two"):
        for name in ("a", "b"):
            add_joblib(tmp_path / place / "models", name)
        build(tmp_path / place)
        found += wake_keys(tmp_path / place).values()
    assert len(set(found)) == 4
    assert all(re.fullmatch("[0-9a-f]{32}\n", key) for key in found)
    assert not any(key.strip() in (tmp_path / "one" / "repo" / "schwift.json").read_text() for key in found)


def test_wake_key_outlives_a_build(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_joblib(tmp_path / "models", name)
    build(tmp_path)
    before = wake_keys(tmp_path)
    add_joblib(tmp_path / "models", "a", version="2")
    build(tmp_path)
    assert wake_keys(tmp_path) == before
    add_joblib(tmp_path / "models", "a", version="3")
    build(tmp_path, only=["a"])
    assert versions(whole(tmp_path / "repo")) == {"a": "3", "b": "1.0.0"}
    assert wake_keys(tmp_path) == before


@pytest.mark.parametrize("damage", ["gone", "not text"])
def test_damaged_wake_key_is_made_anew_or_is_a_sentence(tmp_path: Path, damage: str) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path)
    key = tmp_path / "repo" / "a" / "1" / "wake_key"
    if damage == "gone":
        key.unlink()
    else:
        key.write_bytes(b"\xff\xfe")
    try:
        build(tmp_path)
    except SchwiftError as error:
        assert "wake_key" in str(error)
    else:
        whole(tmp_path / "repo")
        assert re.fullmatch("[0-9a-f]{32}\n", wake_keys(tmp_path)["a"])


def test_repository_is_reached_by_a_relative_link(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path)
    assert os.readlink(tmp_path / "repo") == ".repo.builds/000001"
    (tmp_path / "repo").rename(tmp_path / "renamed")
    whole(tmp_path / "renamed")


def test_manifest_reads_back_as_it_was_built(tmp_path: Path) -> None:
    models = tmp_path / "models"
    add_joblib(
        models, "a", non_finite=None, caching=True, queue={"max_size": 5}, endpoints=["predict"], description="日本"
    )
    text = model_yaml("python", name="b", model_args={"class": "model:Model", "kwargs": {"é": [1.5, None]}})
    add_model(models, "b", text + "  non_finite: null\n", {"model.py": CLASS})
    built = build(tmp_path)
    read = read_manifest(tmp_path / "repo")
    assert read == built.manifest
    assert [entry.spec.non_finite for entry in read.models] == ["error", None]
    assert read.models[1].spec.model_args.class_ == "model:Model"
    assert read.model("b") == built.manifest.models[1]
    assert read.model("c") is None


def test_second_build_of_the_same_models_writes_nothing(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    assert build(tmp_path).changes
    before = os.stat(tmp_path / "repo")
    again = build(tmp_path)
    assert not again.changes
    assert os.stat(tmp_path / "repo") == before


@pytest.mark.parametrize("value", [".nan", ".inf"])
def test_kwargs_that_are_no_number_do_not_make_each_build_new(tmp_path: Path, value: str) -> None:
    text = model_yaml("python", model_args={"class": "model:Model", "kwargs": {"x": "HERE"}}).replace("HERE", value)
    add_model(tmp_path / "models", "m", text, {"model.py": CLASS})
    build(tmp_path)
    assert not build(tmp_path).changes


def test_text_that_has_no_utf8_is_refused_or_reads_back(tmp_path: Path) -> None:
    text = model_yaml("python", model_args={"class": "model:Model", "kwargs": {"x": "HERE"}})
    add_model(tmp_path / "models", "m", text.replace("HERE", r'"\ud800"'), {"model.py": CLASS})
    try:
        build(tmp_path)
    except ConfigError:
        assert not (tmp_path / "repo").exists()
    else:
        assert read_manifest(tmp_path / "repo").models[0].spec.model_args.kwargs == {"x": "\ud800"}


def test_change_is_named_file_by_file(tmp_path: Path) -> None:
    folder = add_joblib(tmp_path / "models", "a")
    add_joblib(tmp_path / "models", "b")
    build(tmp_path)
    (folder / "m.joblib").write_bytes(pickle.dumps("another"))
    (folder / "new.txt").write_bytes(b"new")
    (tmp_path / "models" / "b" / "m.joblib").rename(folder / "m.pkl")
    (tmp_path / "models" / "b" / "model_config.yaml").unlink()
    changes = build(tmp_path).changes
    source = "a_direct/2/source/models/a"
    assert changes.added == (f"{source}/m.pkl", f"{source}/new.txt")
    assert changes.changed == ("a/config.pbtxt", f"{source}/m.joblib", "a_direct/config.pbtxt", "schwift.json")
    assert {name.split("/")[0] for name in changes.removed} == {"b", "b_direct"}
    assert versions(whole(tmp_path / "repo")) == {"a": "1.0.0"}


def test_setting_that_a_config_depends_on_is_a_change(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path)
    changes = build(tmp_path, options=options_of(max_batch_size=64)).changes
    assert changes.changed == ("a/config.pbtxt", "a_direct/config.pbtxt", "schwift.json")


def test_check_says_what_would_change_and_writes_nothing(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    assert "a/config.pbtxt" in build(tmp_path, check=True).changes.added
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
    build(tmp_path)
    before = contents(tmp_path)
    add_joblib(tmp_path / "models", "b")
    after = contents(tmp_path)
    assert len(build(tmp_path, check=True).changes.added) > 4
    assert contents(tmp_path) == after
    assert {name: after[name] for name in before} == before
    build(tmp_path)
    assert not build(tmp_path, check=True).changes


def test_named_model_is_built_and_the_others_stay_as_they_were(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add_joblib(tmp_path / "models", name, version="1")
    build(tmp_path)
    before = contents(tmp_path / "repo")
    for name in ("a", "b", "c"):
        add_joblib(tmp_path / "models", name, version="2")
    built = build(tmp_path, only=["b"])
    assert [entry.name for entry in built.built] == ["b"]
    assert versions(whole(tmp_path / "repo")) == {"a": "1", "b": "2", "c": "1"}
    after = contents(tmp_path / "repo")
    assert sorted(name for name in before if after[name] != before[name]) == [
        "b/config.pbtxt", "b_direct/config.pbtxt", "schwift.json",
    ]  # fmt: skip
    assert {"/".join(name.split("/")[:2]) for name in after if name not in before} == {"b/2", "b_direct/2"}


def test_named_model_is_added_where_there_is_no_repository_yet(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_joblib(tmp_path / "models", name)
    build(tmp_path, only=["b"])
    assert versions(whole(tmp_path / "repo")) == {"b": "1.0.0"}
    build(tmp_path, only=["a"])
    assert versions(whole(tmp_path / "repo")) == {"a": "1.0.0", "b": "1.0.0"}


def test_named_model_may_lose_its_front(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_joblib(tmp_path / "models", name)
    build(tmp_path)
    add_joblib(tmp_path / "models", "b", endpoints="predict")
    build(tmp_path, only=["b"])
    whole(tmp_path / "repo")
    # What is left of the front belongs to the version before.
    assert [path.name for path in (tmp_path / "repo" / "b").iterdir()] == ["1"]
    assert (tmp_path / "repo" / "b_direct" / "2").is_dir()


def test_named_model_cannot_take_the_name_of_a_kept_ones_part(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path)
    add_joblib(tmp_path / "models", "a_direct")
    (tmp_path / "models" / "a" / "model_config.yaml").unlink()
    before = contents(tmp_path / "repo")
    with pytest.raises(ConfigError, match=r"^--model: a_direct belongs to another model of the repository$"):
        build(tmp_path, only=["a_direct"])
    assert contents(tmp_path / "repo") == before


def test_unknown_name_leaves_the_repository(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "iris")
    with pytest.raises(ConfigError, match="did you mean iris"):
        build(tmp_path, only=["irris"])
    assert not (tmp_path / "repo").exists()


def test_bad_model_leaves_the_repository_as_it_was(tmp_path: Path) -> None:
    folder = add_joblib(tmp_path / "models", "a")
    build(tmp_path)
    before = contents(tmp_path)
    (folder / "m.joblib").rename(tmp_path / "moved")
    with pytest.raises(ArtifactError):
        build(tmp_path)
    (tmp_path / "moved").rename(folder / "m.joblib")
    assert contents(tmp_path) == before
    whole(tmp_path / "repo")


def test_notes_name_folders_passed_over_and_too_many_instances(tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a", instances=3)
    (tmp_path / "models" / "notes").mkdir()
    assert build(tmp_path).notes == (
        "models/notes: no .yaml file, so not a model",
        "models/a/model_config.yaml:18: model.instances: 3 instances on 2 cores: each runs one thread: write "
        "auto, or at most one a core [instances]",
    )
