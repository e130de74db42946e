"""What models say of themselves, asked in a process of their own: forms, methods, rows and answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from converter.authoring.fitted_model import Examined, check_examined, examine_all
from converter.environments.interpreter import own_interpreter
from converter.errors import ArtifactError, ConfigError, MissingLibrary

X, Y = load_iris(return_X_y=True)
TEXTS = ["good film", "bad film", "great plot", "awful plot", "good fun", "bad bore"]
WORDS = np.array([["a", "x"], ["b", "y"], ["a", "y"]], dtype=object)

MODELS: dict[str, Callable[[], Any]] = {
    "logreg": lambda: LogisticRegression(max_iter=500).fit(X, Y),
    "scaled": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
    "forest": lambda: RandomForestClassifier(5, random_state=0).fit(X, Y),
    "hist": lambda: HistGradientBoostingClassifier(max_iter=5).fit(X, Y),
    "svc": lambda: SVC().fit(X, Y),
    "knn": lambda: KNeighborsClassifier().fit(X, Y),
    "grid": lambda: GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 2]}, cv=2).fit(X, Y),
    "text": lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0, 1, 0, 1, 0]),
    "text_search": lambda: GridSearchCV(
        make_pipeline(TfidfVectorizer(), LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2
    ).fit(TEXTS, [1, 0, 1, 0, 1, 0]),
    "text_calibrated": lambda: CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2).fit(
        TEXTS, [1, 0, 1, 0, 1, 0]
    ),
    "words": lambda: make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(WORDS, [0, 1, 0]),
    "ridge": lambda: Ridge().fit(X, Y),
    "two": lambda: MultiOutputRegressor(Ridge()).fit(X, np.stack([Y, Y * 2], 1)),
    "kmeans": lambda: KMeans(3, n_init=1).fit(X),
    "outliers": lambda: IsolationForest(n_estimators=5).fit(X),
    "pca": lambda: PCA(2).fit(X),
}
# The form of the input, the method, and dtype and shape of a row of the answer.
WANTED = {
    "logreg": ("matrix", "predict_proba", "float64", [3]),
    "scaled": ("matrix", "predict_proba", "float64", [3]),
    "forest": ("matrix", "predict_proba", "float64", [3]),
    "hist": ("matrix", "predict_proba", "float64", [3]),
    "svc": ("matrix", "predict", "int64", [1]),
    "knn": ("matrix", "predict_proba", "float64", [3]),
    "grid": ("matrix", "predict", "int64", [1]),
    "text": ("text", "predict_proba", "float64", [2]),
    "text_search": ("text", "predict_proba", "float64", [2]),
    "text_calibrated": ("text", "predict_proba", "float64", [2]),
    "words": ("matrix", "predict_proba", "float64", [2]),
    "ridge": ("matrix", "predict", "float64", [1]),
    "two": ("matrix", "predict", "float64", [2]),
    "kmeans": ("matrix", "predict", "int32", [1]),
    "outliers": ("matrix", "predict", "int64", [1]),
    "pca": ("matrix", "transform", "float64", [2]),
}
CLASSIFIERS = [
    "logreg",
    "scaled",
    "forest",
    "hist",
    "svc",
    "knn",
    "grid",
    "text",
    "text_search",
    "text_calibrated",
    "words",
]


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Examined]:
    """All of them, asked of one process."""
    folder = tmp_path_factory.mktemp("fitted")
    for name, fit in MODELS.items():
        joblib.dump(fit(), folder / f"{name}.joblib")
    requests = [{"kind": "pickle", "path": str(folder / f"{name}.joblib")} for name in MODELS]
    return dict(zip(MODELS, examine_all(own_interpreter(), requests), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_the_form_and_the_answer_of_a_model_are_found(examined: dict[str, Examined], name: str) -> None:
    said = examined[name]
    (output,) = said["outputs"]
    assert (said["form"]["form"], said["method"], output["dtype"], output["shape"]) == WANTED[name]
    assert len(said["rows"]) == len(output["values"]) == 32


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_made_up_rows_reach_several_classes(examined: dict[str, Examined], name: str) -> None:
    assert examined[name]["labels"] >= 2


@pytest.mark.parametrize(
    ("name", "nullable"), [("hist", True), ("forest", True), ("logreg", False), ("ridge", False), ("words", False)]
)
def test_whether_values_may_be_missing_is_tried(examined: dict[str, Examined], name: str, nullable: bool) -> None:
    said = examined[name]
    assert said["form"]["nullable"] is nullable
    assert any(None in row for row in said["rows"]) is nullable


def test_the_answers_are_the_models_own(examined: dict[str, Examined]) -> None:
    said = examined["scaled"]
    wanted = MODELS["scaled"]().predict_proba(np.array(said["rows"]))
    assert np.array(said["outputs"][0]["values"]) == pytest.approx(wanted)
    assert said["facts"]["classes"] == [0, 1, 2]
    assert said["facts"]["steps"] == ["StandardScaler", "LogisticRegression"]
    assert (said["facts"]["width"], said["facts"]["width_from"]) == (4, "n_features_in_")


def test_texts_are_made_of_the_words_of_the_fit(examined: dict[str, Examined]) -> None:
    known = {word for text in TEXTS for word in text.split()}
    assert {word for text in examined["text"]["rows"] for word in text.split()} <= known


def test_categories_are_those_of_the_fit(examined: dict[str, Examined]) -> None:
    assert examined["words"]["form"]["dtype"] == "string"
    assert {tuple(row) for row in examined["words"]["rows"]} <= {("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")}


def test_rows_lie_where_the_model_was_fitted(examined: dict[str, Examined]) -> None:
    rows = np.array(examined["scaled"]["rows"])
    assert np.all(np.abs(rows.mean(axis=0) - X.mean(axis=0)) < 2 * X.std(axis=0))


def ask(**request: Any) -> Examined:
    (said,) = examine_all(own_interpreter(), [request])
    return said


def write_module(folder: Path, text: str) -> dict[str, Any]:
    (folder / "users_model.py").write_text(text)
    return {"kind": "python", "roots": [str(folder)], "class": "users_model:Model"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("Model = dict", ArtifactError, "it is a dict, which has no method predict"),
        ("class Model:\n    def predict(self, X): ...\n", ConfigError, "write --input-shape"),
        ("class Model:\n    def __init__(self, factor): ...\n", ConfigError, "missing a required argument: 'factor'"),
        ("import users_not_there\n", MissingLibrary, "the model needs users_not_there"),
        ("import os\nos._exit(7)\n", ArtifactError, "ended the process with code 7"),
        ("import os\nos.kill(os.getpid(), 9)\n", ArtifactError, "ended the process with code -9"),
        ("Model = bytearray(2**45)\n", ArtifactError, "MiB of memory"),
        ("raise RuntimeError('no')\n", ArtifactError, "RuntimeError: no"),
    ],
)
def test_a_model_that_cannot_be_examined_is_said(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_examined(ask(**write_module(tmp_path, text)), "model.py:Model")


def test_the_next_model_has_a_process_where_one_ended_it(tmp_path: Path) -> None:
    ends = write_module(tmp_path, "import os\nos._exit(1)\n")
    joblib.dump(MODELS["ridge"](), tmp_path / "m.joblib")
    first, second = examine_all(own_interpreter(), [ends, {"kind": "pickle", "path": str(tmp_path / "m.joblib")}])
    assert "error" in first and second["facts"]["type"] == "Ridge"


def test_each_model_has_its_own_modules(tmp_path: Path) -> None:
    """Two folders with modules of one name."""
    requests = []
    for factor in (2, 3):
        folder = tmp_path / str(factor)
        folder.mkdir()
        request = write_module(folder, f"def Model(X):\n    return X[:, 0] * {factor}\n")
        requests.append({**request, "form": {"form": "matrix", "dtype": "float64", "width": 1}})
    for factor, said in zip((2, 3), examine_all(own_interpreter(), requests), strict=True):
        assert said["outputs"][0]["values"] == [[row[0] * factor] for row in said["rows"]]


def test_answers_that_are_not_finite_are_no_sample(tmp_path: Path) -> None:
    request = write_module(tmp_path, "def Model(X):\n    return X[:, 0] / 0\n")
    said = ask(**request, form={"form": "matrix", "dtype": "float64", "width": 1})
    assert said["error"] == "it gives no finite answer to made-up rows: give others with --data"


def test_what_a_model_prints_is_no_answer(tmp_path: Path) -> None:
    request = write_module(tmp_path, "print('{}')\ndef Model(X):\n    print('{}')\n    return X\n")
    said = ask(**request, form={"form": "matrix", "dtype": "float32", "width": 2})
    assert said["outputs"][0]["shape"] == [2]


def test_a_model_that_joins_its_rows_is_refused(tmp_path: Path) -> None:
    request = write_module(tmp_path, "def Model(X):\n    return X[:1]\n")
    said = ask(**request, form={"form": "matrix", "dtype": "float64", "width": 1})
    assert "each row is to have its own" in said["error"]


def test_rows_of_the_data_that_lack_what_the_model_needs_are_left_out(tmp_path: Path) -> None:
    request = write_module(
        tmp_path, "def Model(X):\n    return X.isna().any(axis=1).map({True: 'x', False: 1.0}) / 1\n"
    )
    (tmp_path / "rows.csv").write_text("age,city\n" + "31,Bern\n,Lima\n40,Rome\n" * 2)
    said = ask(**request, data=str(tmp_path / "rows.csv"))
    assert [column["nullable"] for column in said["form"]["columns"]] == [False, False]
    assert sorted(row[0] for row in said["rows"]) == [31, 31, 40, 40]


def test_texts_of_the_data_are_asked(tmp_path: Path) -> None:
    joblib.dump(MODELS["text"](), tmp_path / "m.joblib")
    (tmp_path / "rows.json").write_text(json.dumps(TEXTS))
    said = ask(kind="pickle", path=str(tmp_path / "m.joblib"), data=str(tmp_path / "rows.json"))
    assert (said["form"]["form"], sorted(said["rows"])) == ("text", sorted(TEXTS))


def test_categories_of_a_table_are_known_by_the_model(tmp_path: Path) -> None:
    table = pd.DataFrame({"age": np.arange(80.0), "city": ["Bern", "Lima"] * 40}).astype({"city": "category"})
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype").fit(table, [0, 1] * 40)
    joblib.dump(model, tmp_path / "m.joblib")
    said = ask(kind="pickle", path=str(tmp_path / "m.joblib"))
    columns = [(item["name"], item["dtype"]) for item in said["form"]["columns"]]
    assert columns == [("age", "float64"), ("city", "string")]
    assert {city for _, city in said["rows"]} - {None} == {"Bern", "Lima"}
    assert max(age for age, _ in said["rows"] if age is not None) > 20
