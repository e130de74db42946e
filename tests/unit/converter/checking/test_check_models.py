"""What a check finds of models whose config has one mistake each, and of those that have none."""

from __future__ import annotations

import json
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from converter.checking.command import run_check
from converter.schema.samples.sample_file import SAMPLE_NAME
from tests.support.models.sample_models import add_model, graph, model_yaml, options_of

CODE = """\
import random


class Model:
    def __init__(self, how="well"):
        if how == "not at all":
            raise OSError("no database here")
        self.how = how

    def predict(self, X):
        if self.how == "by lots":
            return [random.random() for _ in X]
        if self.how == "leaning":
            return X[:, 0] - X[:, 0].mean()
        if self.how == "once":
            return 1.0
        if self.how == "endlessly":
            return [float("inf") for _ in X]
        if self.how == "in words":
            return [{"yes": 0.5} for _ in X]
        if self.how == "raising":
            raise ValueError("less than nothing")
        return X[:, 0] * 2
"""
X, Y = load_iris(return_X_y=True)
IRIS = LogisticRegression(max_iter=1000).fit(X, Y)
NAMED = DecisionTreeClassifier(random_state=0).fit(pd.DataFrame(X[:, :2], columns=["long", "wide"]), Y)
HOURS = np.arange(1_700_000_000.0, 1_700_864_000.0, 8640.0).reshape(-1, 1)
NEAR = KNeighborsClassifier(1).fit(X, Y)
PEOPLE = pd.DataFrame({"age": [31.0, 40.0, 50.0, 22.0], "city": ["Bern", "Lima", "Bern", "Rome"]})
CITIES = make_pipeline(
    make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough"),
    LogisticRegression(),
).fit(PEOPLE, [0, 1, 0, 1])
WORDS = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a good b", "bad c d"], [0, 1])
ONE = {"shape": [-1, 1], "dtype": "float64"}
FOUR = {"shape": [-1, 4], "dtype": "float64"}
TWO = {"shape": [-1, 2], "dtype": "float64"}
THREE = {"shape": [-1, 3], "dtype": "float64"}
LABEL = {"shape": [-1, 1], "dtype": "int64"}
ROWS = X[::10].tolist()
PROBABILITIES = {"features": ROWS, "predictions": IRIS.predict_proba(X[::10]).tolist()}

# A mistake: the model, its config's keys, a sample, and the code and key that are found, the worst of all.
Case = tuple[Any, dict[str, Any], dict[str, Any] | None, str | None, str]


def python(how: str, **keys: Any) -> dict[str, Any]:
    arguments = {"class": "model:Model", "kwargs": {"how": how}}
    return {"backend": "python", "model_args": arguments, "input": TWO, "output": ONE, **keys}


def columns(*names: str, dtype: str = "float64") -> dict[str, Any]:
    return {"columns": [{"name": name, "dtype": dtype} for name in names]}


CASES: dict[str, Case] = {
    "right": (IRIS, {"input": FOUR, "output": THREE}, PROBABILITIES, None, ""),
    "named": (NAMED, {"input": columns("wide", "long"), "output": LABEL}, None, None, ""),
    "labels": (IRIS, {"input": FOUR, "output": LABEL}, None, None, ""),
    "width": (IRIS, {"input": TWO, "output": THREE}, None, "features-count", "model.input.shape"),
    "no_names": (NAMED, {"input": TWO, "output": LABEL}, None, "columns-missing", "model.input"),
    "typo": (NAMED, {"input": columns("long", "wiid"), "output": LABEL}, None, "columns-differ", "model.input.columns"),
    "one_name": (NAMED, {"input": columns("long"), "output": LABEL}, None, "columns-differ", "model.input.columns"),
    "two_classes": (IRIS, {"input": FOUR, "output": TWO}, None, "output-shape", "model.output.shape"),
    "strings": (IRIS, {"input": FOUR, "output": {"shape": [-1], "dtype": "string"}}, None, "output-dtype",
              "model.output.dtype"),
    "float_labels": (IRIS, {"input": FOUR, "output": ONE}, None, "labels-as-floats", "model.output"),
    "order": (IRIS, {"input": FOUR, "output": THREE, "classes": [2, 1, 0]}, None, "classes-differ", "model.classes"),
    "called": (IRIS, {"input": FOUR, "output": THREE, "classes": ["setosa", "green", "virginica"]}, None, None, ""),
    "no_method": (LinearRegression().fit(X, Y), {
        "model_args": {"model_file": "m.joblib", "method": "predict_proba"}, "input": FOUR, "output": THREE}, None,
        "method-missing", "model.model_args.method"),
    "unfitted": (LinearRegression(), {"input": FOUR, "output": ONE}, None, "row-fails", "model.input"),
    "infinite": (None, python("endlessly"), None, "not-finite", "model.output"),
    "swapped": (LogisticRegression(C=0.01).fit(X, Y), {"input": FOUR, "output": THREE}, PROBABILITIES,
                "sample-differs", "predictions"),
    "other_rows": (IRIS, {"input": FOUR, "output": THREE}, {**PROBABILITIES, "features": [["a"] * 4] * 15},
                   "sample-unfit", "features"),
    "unscaled": (make_pipeline(StandardScaler(), GaussianNB()).fit(X, Y), {
        "input": FOUR, "output": LABEL, "verify": False},
        {"features": (X[::10] * 9).tolist(), "predictions": [[1]] * 15}, "unlike-fit", "features"),
    "clock": (make_pipeline(StandardScaler(), LinearRegression()).fit(HOURS, HOURS[:, 0] - HOURS[0]), {
        "input": {"shape": [-1, 1], "dtype": "float32"}, "output": ONE}, None, "float32-loses", "model.input.dtype"),
    "words": (WORDS, {
        "input": {"shape": [-1, 1], "dtype": "string"}, "output": TWO}, None, "row-fails", "model.input"),
    "not_a_model": ({"weights": [1, 2]}, {"input": FOUR, "output": ONE}, None, "method-missing",
                    "model.model_args.method"),
    "text_column": (CITIES, {"input": {"columns": [{"name": "age", "dtype": "float64"}, {"name": "city",
        "dtype": "float64"}]}, "output": TWO}, None, "dtype-differs", "model.input.columns[1].dtype"),
    "whole": (NEAR, {"input": {"shape": [-1, 4], "dtype": "int64"}, "output": LABEL}, None, "dtype-narrow",
              "model.input.dtype"),
    "bytes": (KNeighborsClassifier(1).fit(X.round() * 100, Y), {"input": {"shape": [-1, 4], "dtype": "uint8"},
        "output": LABEL}, None, "dtype-narrow", "model.input.dtype"),
    "gaps": (IRIS, {"input": {**FOUR, "nullable": True}, "output": LABEL}, None, "null-fails", "model.input.nullable"),
    "leaning": (None, python("leaning"), None, "batch-dependent", "model.max_batch_size"),
    "alone": (None, python("leaning", max_batch_size=1), None, None, ""),
    "lots": (None, python("by lots"), None, "random-answers", "model.verify"),
    "said_so": (None, python("by lots", verify=False), None, None, ""),
    "single": (None, python("once"), None, "answer-unfit", "model.output"),
    "raising": (None, python("raising"), None, "row-fails", "model.input"),
    "no_start": (None, python("not at all"), None, "load-fails", "model.model_args.class"),
    "wide": (None, python("well", output=THREE), None, "output-shape", "model.output.shape"),
    "in_words": (None, python("in words"), None, "output-dtype", "model.output"),
    "quoted": (IRIS, {"input": {"shape": [-1, 4], "dtype": "string"}, "output": LABEL}, None, "row-fails",
               "model.input"),
    "centers": (KMeans(2, n_init=1).fit(X), {"input": {"shape": [-1, 4], "dtype": "float32"}, "output": {
        "shape": [-1, 1], "dtype": "int32"}}, None, "row-fails", "model.input"),
    "no_words": (WORDS, {"input": FOUR, "output": TWO}, None, "row-fails", "model.input"),
    "moments": (LinearRegression().fit(X, HOURS[0, 0] + X[:, 0] * 3600), {"input": FOUR, "output": {
        "shape": [-1, 1], "dtype": "float32"}}, None, "float32-loses", "model.output.dtype"),
    "yes_no": (make_pipeline(make_column_transformer((OneHotEncoder(), ["paid"])), LogisticRegression()).fit(
        pd.DataFrame({"paid": [True, False]}), [0, 1]), {"input": columns("paid", dtype="string"), "output": TWO}, None,
        "dtype-differs", "model.input.columns[0].dtype"),
    "not_asked": (None, python("well", output=THREE, warmup=False), None, None, ""),
    "batches": (None, python("well", preferred_batch_size=[64], rush_batch_size=32), None, "batch-sizes",
                "model.rush_batch_size"),
    "crowd": (None, python("well", instances=3), None, "instances", "model.instances"),
}  # fmt: skip
GRAPH = graph({"x": (TensorProto.FLOAT, ["n", 4])}, {"y": (TensorProto.FLOAT, ["n", 4])})
WARNINGS = {"labels-as-floats", "not-finite", "random-answers", "load-fails", "unlike-fit", "instances", "dtype-narrow",
            "null-fails", "batch-sizes"}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The findings of all these models, by folder."""
    models = tmp_path_factory.mktemp("check") / "models"
    for name, (model, keys, sample, *_) in CASES.items():
        add_model(models, name, model_yaml(**{"name": name, **keys}), {"model.py": CODE.encode()})
        if model is not None:
            joblib.dump(model, models / name / "m.joblib")
        if sample is not None:
            (models / name / SAMPLE_NAME).write_text(json.dumps(sample))
    labels = graph(
        {"x": (TensorProto.FLOAT, ["n", 2])},
        {"label": (TensorProto.INT64, ["n"]), "scores": (TensorProto.FLOAT, ["n", 2])},
        [
            helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
            helper.make_node("Identity", ["x"], ["scores"]),
        ],
    )
    for name, classes in (("zero_one", [0, 1]), ("one_zero", [1, 0])):
        given, taken = {"shape": [-1, 2], "dtype": "float32"}, {"name": "scores", "shape": [-1, 2], "dtype": "float32"}
        config = model_yaml("onnx", name=name, input=given, output=taken, classes=classes)
        add_model(models, name, config, {"m.onnx": labels})
    for name, dtype in (("graph", "float32"), ("double", "float64")):
        tensor = {"shape": [-1, 4], "dtype": dtype}
        add_model(models, name, model_yaml("onnx", name=name, input=tensor, output=tensor), {"m.onnx": GRAPH})
    text, code = run_check(options_of(model_directory=models), (), "json", print)
    assert code == 1
    by_folder: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(text)["findings"]:
        by_folder.setdefault(finding["file"].split("/")[1], []).append(finding)
    return by_folder


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_found_at_its_key(found: dict[str, list[dict[str, Any]]], name: str) -> None:
    *_, code, key = CASES[name]
    serious = [item for item in found.get(name, []) if item["severity"] != "note"]
    assert [(item["code"], item["key"]) for item in serious] == ([(code, key)] if code else [])
    for item in serious:
        assert item["severity"] == ("warning" if code in WARNINGS or name in ("raising", "moments") else "error")
        assert item["line"] >= 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_names", 'columns: [{name: "long", dtype: float64}, {name: "wide", dtype: float64}]'),
        ("typo", "(did you mean wide?): write the names of the fit: long, wide"),
        ("width", "the model takes 4 features a row (n_features_in_), and the config has 2: write shape: [-1, 4]"),
        ("two_classes", "predict_proba gives rows of shape [3], and the config says [2]: write shape: [-1, 3]"),
        ("words", "it reads texts: write input shape: [-1] and dtype: string"),
        ("no_words", "it reads texts: write input shape: [-1] and dtype: string"),
        (
            "centers",
            "Buffer dtype mismatch, expected 'const float' but got 'double': write dtype: float64, which it takes",
        ),
        ("order", "the model has them in another order: write classes: [0, 1, 2]"),
        ("double", "write dtype: float32 in place of float64"),
    ],
)
def test_a_finding_says_what_to_write(found: dict[str, list[dict[str, Any]]], name: str, said: str) -> None:
    texts = [f"{item['message']}: {item['remedy']}" for item in found[name]]
    assert any(said in text for text in texts), texts


def test_a_graph_is_held_against_its_tensors(found: dict[str, list[dict[str, Any]]]) -> None:
    names = ("graph", "double", "zero_one", "one_zero")
    serious = {name: [item["code"] for item in found[name] if item["severity"] != "note"] for name in names}
    # One for the input and one for the output: all that is wrong in one round.
    twice = ["tensors-differ"] * 2
    assert serious == {"graph": [], "double": twice, "zero_one": [], "one_zero": ["classes-differ"]}
