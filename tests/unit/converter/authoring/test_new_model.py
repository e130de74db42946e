"""`schwift new`: a file or a class → a folder that a build takes, with the original's own answers."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from converter.authoring.new_model import NewOptions, write_new
from converter.errors import ConfigError
from converter.inspect.discover import discover
from converter.reference.config_schema import make_schema
from converter.schema.model import ModelSpec
from converter.schema.samples.sample_file import Sample, read_sample
from converter.schema.settings import Settings
from tests.support.servers.server import ROOT

X, Y = load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def iris() -> LogisticRegression:
    return LogisticRegression(max_iter=500).fit(X, Y)


class Writing:
    """Writes models below a folder, and reads them again."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        self.said: list[str] = []

    def new(
        self, path: Path | str, settings: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[ModelSpec, Sample]:
        known = Settings(MODEL_DIRECTORY=self.models, **(settings or {}))
        folder = write_new(str(path), known, NewOptions(**options), self.said.append)
        (spec,) = [source.spec for source in discover(self.models).sources if source.folder == folder]
        sample = read_sample(folder / "sample.json")
        assert sample is not None
        return spec, sample


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    return Writing(tmp_path)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_pickle_becomes_a_folder_with_its_own_answers(
    tmp_path: Path, writing: Writing, iris: LogisticRegression
) -> None:
    joblib.dump(iris, tmp_path / "flowers.joblib")
    spec, sample = writing.new(tmp_path / "flowers.joblib")
    assert (spec.name, spec.backend, spec.model_args.model_file) == ("flowers", "sklearn", "flowers.joblib")
    assert spec.model_args.method == "predict_proba"
    assert (spec.input[0].shape, spec.input[0].dtype, spec.output[0].shape) == ((-1, 4), "float64", (-1, 3))
    assert len(sample.features) == 32
    assert np.array(sample.predictions) == pytest.approx(iris.predict_proba(np.array(sample.features)))
    assert "made up" in sample.made_by and "scikit-learn" in sample.made_by
    text = (writing.models / "flowers" / "model_config.yaml").read_text()
    assert "# n_features_in_ = 4" in text and "# a pickle: sklearn.linear_model._logistic.LogisticRegression" in text


@pytest.mark.parametrize("name", ["m.pickle", "m.pkl.gz", "m.sav"])
def test_a_file_is_copied_under_a_name_that_its_backend_loads(
    tmp_path: Path, writing: Writing, iris: LogisticRegression, name: str
) -> None:
    joblib.dump(iris, tmp_path / name, compress=("gzip", 3) if name.endswith(".gz") else 0)
    spec, _ = writing.new(tmp_path / name, method="predict")
    assert (spec.name, spec.model_args.model_file, spec.output[0].dtype) == ("m", "m.joblib", "int64")
    assert (writing.models / "m" / "m.joblib").read_bytes() == (tmp_path / name).read_bytes()


def test_texts_are_asked_as_texts(tmp_path: Path, writing: Writing) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good film", "bad film"] * 3, ["+", "-"] * 3)
    joblib.dump(model, tmp_path / "mood.joblib")
    spec, sample = writing.new(tmp_path / "mood.joblib", method="predict")
    assert (spec.input[0].shape, spec.input[0].dtype, spec.output[0].dtype) == ((-1,), "string", "string")
    assert sample.predictions == [[label] for label in model.predict(sample.features)]
    assert {label for (label,) in sample.predictions} == {"+", "-"}


def test_a_graph_is_described_by_itself(writing: Writing) -> None:
    spec, sample = writing.new(ROOT / "models" / "iris_onnx" / "model.onnx", name="graph")
    assert (spec.backend, spec.input[0].shape, spec.input[0].dtype) == ("onnx", (-1, 4), "float32")
    assert (spec.output[0].name, spec.output[0].shape) == ("probabilities", (-1, 3))
    assert len({int(np.argmax(row)) for row in sample.predictions}) >= 2


def test_torchscript_is_described_by_its_first_weights(writing: Writing) -> None:
    spec, sample = writing.new(ROOT / "models" / "torch_mlp" / "model.pt", name="mlp")
    assert (spec.backend, spec.input[0].shape, spec.input[0].dtype) == ("torch", (-1, 4), "float32")
    assert np.array(sample.predictions).shape == (32, 3)


def test_a_function_is_copied_with_what_it_imports(tmp_path: Path, writing: Writing) -> None:
    write(tmp_path / "users_parts.py", "def double(X):\n    return X * 2\n")
    write(tmp_path / "users_function.py", "import users_parts\n\n\ndef twice(X):\n    return users_parts.double(X)\n")
    spec, sample = writing.new(f"{tmp_path}/users_function.py:twice", shapes=["3"], dtypes=["float32"])
    assert (spec.name, spec.model_args.class_, spec.input[0].dtype) == ("twice", "users_function:twice", "float32")
    assert (writing.models / "twice" / "users_parts.py").is_file()
    assert np.array(sample.predictions) == pytest.approx(np.array(sample.features) * 2, rel=1e-6)


def test_a_class_has_its_arguments_from_the_command(tmp_path: Path, writing: Writing) -> None:
    data = write(tmp_path / "rows.csv", "a,b,c\n1,2,3\n4,5,6\n")
    model = f"{ROOT}/models/multiply/model.py:Multiply"
    spec, sample = writing.new(model, kwargs='{"factor": 2}', data=data)
    assert (spec.model_args.kwargs, spec.input[0].shape) == ({"factor": 2}, (-1, 3))
    assert sorted(sample.features) == [[1, 2, 3], [4, 5, 6]]
    assert sorted(sample.predictions) == [[2, 4, 6], [8, 10, 12]]
    assert "rows of rows.csv" in sample.made_by


def test_several_inputs_have_a_shape_each(tmp_path: Path, writing: Writing) -> None:
    write(tmp_path / "users_sum.py", "def add(X):\n    return X['left'] + X['right'].astype('float64')\n")
    spec, sample = writing.new(f"{tmp_path}/users_sum.py:add", shapes=["left=2", "right=2"], dtypes=["right=int64"])
    assert [(item.name, item.dtype) for item in spec.input] == [("left", "float64"), ("right", "int64")]
    wanted = np.array(sample.features["left"]) + np.array(sample.features["right"])
    assert np.array(sample.predictions) == pytest.approx(wanted)


def test_a_module_beside_a_pickle_comes_along(
    tmp_path: Path, writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path / "users_own.py",
        "class Own:\n    n_features_in_ = 2\n    def predict(self, X):\n        return X[:, 0]\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("users_own")
    (tmp_path / "own.pkl").write_bytes(pickle.dumps(module.Own()))
    spec, sample = writing.new(tmp_path / "own.pkl")
    assert spec.model_args.model_file == "own.pkl"
    assert sample.predictions == [[row[0]] for row in sample.features]


def test_a_folder_that_is_there_is_kept_replaced_or_reused(
    tmp_path: Path, writing: Writing, iris: LogisticRegression
) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump(iris, path)
    writing.new(path)
    note = write(writing.models / "m" / "note.txt", "mine")
    with pytest.raises(ConfigError, match=r"there is such a folder already: name another with --name, or replace it"):
        writing.new(path)
    writing.new(path, reuse=True)
    assert note.exists() and "made of m.joblib already" in writing.said[-1]
    joblib.dump(LogisticRegression(max_iter=500, C=2).fit(X, Y), path)
    with pytest.raises(ConfigError, match="--force"):
        writing.new(path, reuse=True)
    writing.new(path, force=True)
    assert not note.exists()


def mlmodel(flavors: Mapping[str, Any], inputs: Any = None) -> str:
    signature = {"inputs": json.dumps(inputs)} if inputs else None
    return json.dumps({"flavors": flavors, "signature": signature})


def test_a_folder_of_mlflow_gives_its_flavours_own_file(
    tmp_path: Path, writing: Writing, iris: LogisticRegression
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    joblib.dump(iris, folder / "model.pkl")
    flavors = {"sklearn": {"pickled_model": "model.pkl"}, "python_function": {"predict_fn": "predict"}}
    write(folder / "MLmodel", mlmodel(flavors))
    spec, sample = writing.new(folder)
    assert (spec.name, spec.backend, spec.model_args.method) == ("saved", "sklearn", "predict")
    assert [value for (value,) in sample.predictions] == iris.predict(np.array(sample.features)).tolist()


class Squaring:
    def predict(self, X: Any) -> Any:
        return X[:, 0] ** 2


def dump_code(path: Path) -> Path:
    """A pickle that has its class in it as code, as notebooks make them."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        path.write_bytes(cloudpickle.dumps(Squaring()))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    return path


def test_code_in_a_pickle_needs_the_operators_word(tmp_path: Path, writing: Writing) -> None:
    path = dump_code(tmp_path / "squaring.pkl")
    with pytest.raises(ConfigError, match=r"is refused: it was saved by cloudpickle.*SCHWIFT_TRUST=any"):
        writing.new(path, shapes=["1"])
    spec, sample = writing.new(path, {"SCHWIFT_TRUST": "any"}, shapes=["1"])
    assert not spec.trusted
    assert sample.predictions == [[row[0] ** 2] for row in sample.features]
    spec, _ = writing.new(path, {"SCHWIFT_TRUST_FOLDERS": str(writing.models)}, shapes=["1"], force=True)
    assert spec.trusted


def test_code_in_a_folder_of_mlflow_needs_it_too(tmp_path: Path, writing: Writing) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    dump_code(folder / "python_model.pkl")
    write(folder / "MLmodel", mlmodel({"python_function": {"loader_module": "mlflow.pyfunc.model"}}))
    with pytest.raises(ConfigError, match=r"saved/python_model\.pkl is refused: it was saved by cloudpickle"):
        writing.new(folder)


def test_a_table_is_asked_by_the_names_of_its_columns(tmp_path: Path, writing: Writing) -> None:
    table = pd.DataFrame({"age": [20.0, 30, 50, 70] * 5, "city": ["Bern", "Lima", "Rome", "Bern"] * 5})
    cities = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    parts = make_column_transformer((StandardScaler(), ["age"]), (cities, ["city"]))
    model = make_pipeline(parts, LogisticRegression()).fit(table, ["young", "young", "old", "old"] * 5)
    joblib.dump(model, tmp_path / "people.joblib")
    spec, sample = writing.new(tmp_path / "people.joblib")
    columns = [(column.name, column.dtype, column.nullable) for column in spec.input[0].columns]
    assert columns == [("age", "float64", False), ("city", "string", True)]
    assert spec.classes == ("old", "young")
    # A text that is missing is what it was in the fit: the imputer's NaN.
    asked = pd.DataFrame(sample.features, columns=["age", "city"]).fillna({"city": np.nan})
    assert np.array(sample.predictions) == pytest.approx(model.predict_proba(asked))
    assert {city for _, city in sample.features} == {"Bern", "Lima", "Rome", None}


def test_editors_find_the_schema_that_is_written_once(
    tmp_path: Path, writing: Writing, iris: LogisticRegression
) -> None:
    joblib.dump(iris, tmp_path / "flowers.joblib")
    writing.new(tmp_path / "flowers.joblib")
    folder = writing.models / "flowers"
    first, _, _ = (folder / "model_config.yaml").read_text().partition("\n")
    before, _, named = first.partition("=")
    assert before == "# yaml-language-server: $schema"
    schema = folder / named
    assert json.loads(schema.read_text()) == make_schema()
    written = schema.stat().st_mtime_ns
    writing.new(tmp_path / "flowers.joblib", name="again")
    assert schema.stat().st_mtime_ns == written
    schema.write_text("{}")
    writing.new(tmp_path / "flowers.joblib", force=True)
    assert json.loads(schema.read_text()) == make_schema()
    assert [source.spec.name for source in discover(writing.models).sources] == ["again", "flowers"]


STEPS = """
from sklearn.base import BaseEstimator


class Keep(BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


class Halve(Keep):
    def transform(self, X):
        return X[["age"]].assign(long=X["city"].str.len()) / 2
"""


def import_steps(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    write(folder / f"{name}.py", STEPS)
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


def test_the_width_of_a_step_that_does_not_say_it_is_that_of_the_next(
    tmp_path: Path, writing: Writing, monkeypatch: pytest.MonkeyPatch, iris: LogisticRegression
) -> None:
    steps = import_steps(tmp_path, monkeypatch, "users_keep")
    joblib.dump(make_pipeline(steps.Keep(), iris), tmp_path / "k.joblib")
    spec, _ = writing.new(tmp_path / "k.joblib")
    assert spec.input[0].shape == (-1, 4)
    text = (writing.models / "k" / "model_config.yaml").read_text()
    assert "# n_features_in_ of LogisticRegression = 4" in text


def test_a_step_of_ones_own_that_takes_a_table_takes_that_of_the_data(
    tmp_path: Path, writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = import_steps(tmp_path, monkeypatch, "users_halve")
    table = pd.DataFrame({"age": [20, 30, 50, 70] * 5, "city": ["Bern", "Zug", "Rome", "Bellinzona"] * 5})
    model = make_pipeline(steps.Halve(), LogisticRegression()).fit(table, [0, 0, 1, 1] * 5)
    joblib.dump(model, tmp_path / "h.joblib")
    table.to_csv(tmp_path / "rows.csv", index=False)
    spec, sample = writing.new(tmp_path / "h.joblib", data=tmp_path / "rows.csv")
    assert [(column.name, column.dtype) for column in spec.input[0].columns] == [("age", "int64"), ("city", "string")]
    asked = pd.DataFrame(sample.features, columns=["age", "city"])
    assert np.array(sample.predictions) == pytest.approx(model.predict_proba(asked))


def test_a_model_that_computes_in_float32_may_differ_by_what_that_does(tmp_path: Path, writing: Writing) -> None:
    text = "def f(X):\n    return X.sum(axis=1) * (1 + 4e-7 * (len(X) > 1))\n"
    spec, _ = writing.new(f"{write(tmp_path / 'users_g.py', text)}:f", shapes=["2"])
    assert not isinstance(spec.verify, bool)
    assert (spec.verify.rtol, spec.verify.atol) == (1e-5, 1e-7)
    exact, _ = writing.new(f"{write(tmp_path / 'users_h.py', 'def f(X): return X')}:f", shapes=["2"], name="exact")
    assert exact.verify is not False and "verify" not in (writing.models / "exact" / "model_config.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("def f(X): ...\n", {}, "give some rows with --data, or write --input-shape"),
        (
            "def f(X):\n    raise ValueError('negative')\n",
            {"shapes": ["2"]},
            "raises ValueError on made-up rows: negative",
        ),
        ("def f(X):\n    return X\n", {"shapes": ["two"]}, "--input-shape two: write the sizes of one row"),
        (
            "def f(X):\n    return X\n",
            {"shapes": ["2"], "dtypes": ["flaot32"]},
            r"is no dtype \(did you mean float32\?\)",
        ),
        ("def f(X):\n    return X\n", {"shapes": ["2"], "kwargs": "{"}, "--kwargs: no JSON"),
        ("def f(X): return X +\n", {"shapes": ["2"]}, "users_f.py:1: not valid Python"),
        ("import users_nowhere\ndef f(X): ...\n", {"shapes": ["2"]}, "the model needs users_nowhere"),
    ],
)
def test_what_is_not_known_is_asked_for_and_nothing_is_written(
    tmp_path: Path, writing: Writing, text: str, options: dict[str, Any], message: str
) -> None:
    write(tmp_path / "users_f.py", text)
    with pytest.raises(ConfigError, match=message):
        writing.new(f"{tmp_path}/users_f.py:f", **options)
    assert not writing.models.exists()
