"""models/ → sources: which folders are models, and what goes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.errors import ConfigError
from converter.inspect.discover import ModelSource, check_names, discover
from tests.support.models.sample_models import add_joblib, add_model, model_yaml


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def problems_of(models: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        discover(models)
    return caught.value.problems


def only_source(models: Path) -> ModelSource:
    (source,) = discover(models).sources
    return source


def test_models_are_sorted_by_name_and_not_by_folder(models: Path) -> None:
    add_model(models, "a", model_yaml(name="zebra"), {})
    add_model(models, "b", model_yaml(name="ant"), {})
    found = discover(models)
    assert [(source.spec.name, source.folder, source.config) for source in found.sources] == [
        ("ant", models / "b", "models/b/model_config.yaml"),
        ("zebra", models / "a", "models/a/model_config.yaml"),
    ]
    assert found.passed_over == ()
    assert found.sources[0].models_name == "models"


def test_any_yaml_file_will_do_where_it_is_the_only_one(models: Path) -> None:
    add_joblib(models, "a").joinpath("model_config.yaml").rename(models / "a" / "anything.yaml")
    source = only_source(models)
    assert (source.spec.name, source.config) == ("a", "models/a/anything.yaml")


def test_documented_name_wins_over_other_yaml_files(models: Path) -> None:
    add_joblib(models, "a").joinpath("another.yaml").write_text("{}")
    assert only_source(models).config == "models/a/model_config.yaml"


def test_several_yaml_files_without_the_documented_one_are_refused(models: Path) -> None:
    folder = add_joblib(models, "a")
    folder.joinpath("model_config.yaml").rename(folder / "b.yaml")
    folder.joinpath("a.yaml").write_text("{}")
    assert problems_of(models) == (
        "models/a: several .yaml files (a.yaml, b.yaml): call the model's model_config.yaml",
    )


def test_every_file_goes_along_but_for_caches(models: Path) -> None:
    folder = add_joblib(models, "a")
    for name in (
        "sub/b.py", "sub/deep/c.bin", "data.txt", ".hidden",
        "__pycache__/x.pyc", "sub/__pycache__/y.py", "z.pyc", "z.pyo", ".git/config", ".DS_Store",
        ".ipynb_checkpoints/n.ipynb",
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert only_source(models).files == (
        ".hidden", "data.txt", "m.joblib", "model_config.yaml", "sub/b.py", "sub/deep/c.bin",
    )  # fmt: skip


def test_folder_without_yaml_is_passed_over_with_a_note(models: Path) -> None:
    add_joblib(models, "a")
    (models / "notes").mkdir()
    (models / "notes" / "model_config.yml").write_text("")
    (models / "README.md").write_text("")
    found = discover(models)
    assert [source.spec.name for source in found.sources] == ["a"]
    assert found.passed_over == ("models/notes: no .yaml file, so not a model (a .yml does not count: rename it)",)


@pytest.mark.parametrize("name", [".cache", "__pycache__", ".git"])
def test_hidden_folders_and_caches_are_passed_over_in_silence(models: Path, name: str) -> None:
    add_joblib(models, "a")
    (models / name).mkdir()
    (models / name / "model_config.yaml").write_text("bad: 1")
    found = discover(models)
    assert [source.spec.name for source in found.sources] == ["a"]
    assert found.passed_over == ()


def test_link_to_a_file_counts_as_the_file(models: Path, tmp_path: Path) -> None:
    folder = add_joblib(models, "a")
    (models / "weights").write_text("w")
    (folder / "weights.bin").symlink_to(models / "weights")
    source = only_source(models)
    assert "weights.bin" in source.files
    assert source.path_of("weights.bin") == models.resolve() / "weights"


def test_link_out_of_the_folder_of_the_models_needs_a_folder_that_is_named(models: Path, tmp_path: Path) -> None:
    folder = add_joblib(models, "a")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "weights").write_text("w")
    (folder / "weights.bin").symlink_to(tmp_path / "shared" / "weights")
    with pytest.raises(ConfigError) as caught:
        discover(models)
    assert caught.value.problems == (
        f"{folder}/weights.bin: a link to {tmp_path}/shared/weights, outside of {models}: copy it here, or let "
        "SCHWIFT_MODEL_LINKS name the folder that such links may point into",
    )
    (source,) = discover(models, tmp_path / "shared").sources
    assert source.path_of("weights.bin") == (tmp_path / "shared" / "weights").resolve()


def test_model_folder_may_be_a_link(models: Path, tmp_path: Path) -> None:
    (models / "a").symlink_to(add_joblib(tmp_path / "elsewhere", "a"))
    assert only_source(models).files == ("m.joblib", "model_config.yaml")


def test_link_to_a_folder_is_refused(models: Path, tmp_path: Path) -> None:
    folder = add_joblib(models, "a")
    (folder / "data").symlink_to(tmp_path)
    assert problems_of(models) == (f"{folder}/data: a link to a folder is not copied: put the folder itself here",)


def test_link_to_nothing_is_refused(models: Path, tmp_path: Path) -> None:
    folder = add_joblib(models, "a")
    (folder / "data").symlink_to(tmp_path / "gone")
    assert problems_of(models) == (f"{folder}/data: not a regular file, or a link to nothing: remove it",)


def test_problems_of_all_files_are_said_at_once(models: Path) -> None:
    add_model(models, "a", model_yaml(backend="onxx"), {})
    add_model(models, "b", "", {})
    add_joblib(models, "c")
    add_model(models, "d", model_yaml(name="c"), {})
    assert problems_of(models) == (
        "models/a/model_config.yaml:3: model.backend: 'onxx' is not one of sklearn, joblib, onnx, python, torch "
        "(did you mean onnx?)",
        "models/b/model_config.yaml:1: the file is empty: it needs the key model",
        "models/d/model_config.yaml: model.name: c is also the name in models/c/model_config.yaml: rename one",
    )


def test_name_that_a_second_triton_model_takes_is_refused(models: Path) -> None:
    add_joblib(models, "a")
    add_joblib(models, "a_direct")
    assert problems_of(models) == (
        "models/a_direct/model_config.yaml: model.name: a_direct is what the model of models/a/model_config.yaml "
        "is called inside Triton: rename one",
    )


def test_name_of_the_manifest_is_refused(models: Path) -> None:
    add_joblib(models, "schwift.json")
    assert "schwift.json" in problems_of(models)[0]


def test_no_folder_names_the_option(tmp_path: Path) -> None:
    assert problems_of(tmp_path / "gone") == (
        f"{tmp_path}/gone: no such folder: name the folder that holds the models with --models",
    )


def test_folder_without_models_says_where_to_put_one(models: Path) -> None:
    (models / "empty").mkdir()
    assert problems_of(models) == (
        f"{models}: no model here: put a model's file and its model_config.yaml into models/<model_name>/",
    )


def test_unknown_names_are_each_said_with_a_suggestion(models: Path) -> None:
    add_joblib(models, "iris_forest")
    add_joblib(models, "multiply")
    found = discover(models)
    check_names(["multiply", "iris_forest"], found)
    with pytest.raises(ConfigError) as caught:
        check_names(["iris_forrest", "multiply", "zzz"], found)
    assert caught.value.problems == (
        "--model iris_forrest: no model has this name (did you mean iris_forest?): there are iris_forest, multiply",
        "--model zzz: no model has this name: there are iris_forest, multiply",
    )
