"""Which kind of model a path names."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from converter.authoring.artifacts import recognize
from converter.errors import ArtifactError, ConfigError


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("m.joblib", b"\x80\x04N.", "pickle"),
        ("m.pickle", b"\x80\x04N.", "pickle"),
        ("m.pkl.gz", b"\x1f\x8b", "pickle"),
        ("no_ending", b"\x80\x04N.", "pickle"),
        ("m.onnx", b"\x08\x08", "onnx"),
        ("m.txt", b"tree\nversion=v4\n", "lightgbm"),
        ("m.json", b'{"learner":{}}', "xgboost"),
        ("m.ubj", b"{L\x00", "xgboost"),
        ("m.cbm", b"CBM1", "catboost"),
    ],
)
def test_a_file_is_known_by_its_content_and_its_ending(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert recognize(str(tmp_path / name)).kind == kind


@pytest.mark.parametrize(("inner", "kind"), [("schema.json", "skops"), ("m/constants.pkl", "torch")])
def test_an_archive_is_known_by_what_is_in_it(tmp_path: Path, inner: str, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(inner, "")
    assert recognize(str(tmp_path / "m.zip")).kind == kind


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.joblib", b"", "the file is empty"),
        ("m.joblib", b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        ("m.h5", b"\x89HDF", "Keras is not served: convert the model to ONNX"),
        ("m.csv", b"1,2\n", "this is no model"),
        ("m.py", b"class A: ...\n", r"name the class or function in it: .*m\.py:ClassName"),
        ("m.xyz", b"abc", "not known as a model"),
    ],
)
def test_what_is_no_model_is_said_with_the_remedy(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        recognize(str(tmp_path / name))


def test_a_class_is_named_by_its_file_or_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "users_model.py"
    file.write_text("class Model: ...\n")
    monkeypatch.chdir(tmp_path)
    for text in (f"{file}:Model", "users_model:Model", "users_model.py:Model"):
        found = recognize(text)
        assert (found.kind, found.path, found.name, found.shown) == ("python", file, "Model", "users_model.py:Model")
    with pytest.raises(ConfigError, match="there is no module users_other in the current folder"):
        recognize("users_other:Model")
    with pytest.raises(ConfigError, match="no such file"):
        recognize("nothing.joblib")


def test_a_folder_is_a_model_of_mlflow_or_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a folder without an MLmodel"):
        recognize(str(tmp_path))
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    assert recognize(str(tmp_path)).kind == "mlflow"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("rf.v2.joblib", "rf"), ("my model.pkl.gz", "my_model"), ("RF-10.pkl", "RF-10"), ("é.pkl", "model")],
)
def test_a_models_name_is_that_of_its_file(tmp_path: Path, name: str, wanted: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    assert recognize(str(tmp_path / name)).suggest_name() == wanted
