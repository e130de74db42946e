"""What a model with columns is called with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.support.models.runtime_models import make_config
from triton_repo_template.runtime.config import ModelConfig
from triton_repo_template.runtime.errors import LoadError
from triton_repo_template.runtime.inputs.data_frame import join_columns
from triton_repo_template.runtime.loaders import load_predictor

# Column and dtype, in the config's order.
COLUMNS = [("age", "int64"), ("city", "object"), ("income", "float64"), ("size", "int64"), ("job", "object")]
TABLE = pd.DataFrame(
    {
        "age": [31, 40, 22, 55],
        "city": pd.Series(["Bern", None, "Lima", "Bern"], dtype=object),
        "income": [1.5, np.nan, 3.0, 4.0],
        "size": [1, 2, 3, 4],
        "job": pd.Series(["a", "b", "a", "b"], dtype=object),
    }
)
ARRAYS = {
    "f.int64": TABLE[["age", "size"]].to_numpy(np.int64),
    "f.object": TABLE[["city", "job"]].to_numpy(object),
    "f.float64": TABLE[["income"]].to_numpy(np.float64),
}


def config(columns: Sequence[tuple[str, str]] = COLUMNS, several: bool = False, **parameters: str) -> ModelConfig:
    counts: dict[str, int] = {}
    for _, dtype in columns:
        counts[dtype] = counts.get(dtype, 0) + 1
    return make_config(
        inputs=[(f"f.{dtype}", dtype, (count,)) for dtype, count in counts.items()],
        columns=json.dumps([[name, f"f.{dtype}"] for name, dtype in columns]),
        several_inputs=str(int(several)),
        **parameters,
    )


class Fitted:
    """As a model of scikit-learn that was fitted with a DataFrame, or of its kind."""

    def __init__(self, *names: str) -> None:
        self.feature_names_in_ = np.array(names, dtype=object)

    def predict(self, X: Any) -> Any:
        return X


class _WithoutPandas:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")


class Plain:
    def predict(self, X: Any) -> Any:
        return X


@pytest.mark.parametrize("order", [["age", "city", "income", "size", "job"], ["job", "income", "size", "age", "city"]])
def test_a_data_frame_has_the_order_of_the_fit(order: list[str]) -> None:
    frame = join_columns(Fitted(*order), config())(ARRAYS)
    pd.testing.assert_frame_equal(frame, TABLE[order])
    assert frame["city"].tolist()[1] is None


def test_columns_of_one_dtype_are_a_data_frame_too() -> None:
    names = ["c", "a", "b"]
    arrays = {"f.float64": np.arange(6.0).reshape(2, 3)}
    columns = [(name, "float64") for name in names]
    for order in (names, ["a", "b", "c"]):
        frame = join_columns(Fitted(*order), config(columns))(arrays)
        pd.testing.assert_frame_equal(frame, pd.DataFrame(arrays["f.float64"], columns=names)[order])
    frame = join_columns(Fitted("t"), config([("t", "object")]))({"f.object": np.array([["a"], [None]], object)})
    assert (frame["t"].tolist(), frame["t"].dtype) == (["a", None], object)


def test_without_names_of_a_fit_the_order_is_the_configs() -> None:
    pd.testing.assert_frame_equal(join_columns(Plain(), config())(ARRAYS), TABLE)


def test_a_model_that_was_fitted_without_names_has_an_array() -> None:
    model = LinearRegression().fit(np.eye(3), [1, 2, 3])
    columns = [(name, "float64") for name in "abc"]
    given = join_columns(model, config(columns))({"f.float64": np.eye(3)})
    assert isinstance(given, np.ndarray)
    with pytest.raises(LoadError, match="the model takes 3 features a row, and the config names 2 columns"):
        join_columns(model, config(columns[:2]))


@pytest.mark.parametrize("attribute", ["feature_name_", "feature_names_"])
def test_names_that_another_library_tells_give_the_order_if_they_are_the_configs(attribute: str) -> None:
    model = Plain()
    vars(model)[attribute] = ["job", "income", "size", "age", "city"]
    pd.testing.assert_frame_equal(join_columns(model, config())(ARRAYS), TABLE[vars(model)[attribute]])
    vars(model)[attribute] = ["job", "income", "size", "age", "city_of_birth"]
    pd.testing.assert_frame_equal(join_columns(model, config())(ARRAYS), TABLE)


def test_names_that_a_library_made_up_are_none() -> None:
    """LightGBM and CatBoost name the columns of an array; CatBoost does not say how many it takes."""
    frame = join_columns(Fitted("Column_0", "Column_1", "Column_2", "Column_3", "Column_4"), config())(ARRAYS)
    pd.testing.assert_frame_equal(frame, TABLE)
    model = Plain()
    vars(model).update(feature_names_=["0", "1"], n_features_in_=0)
    columns = [(name, "float64") for name in "ba"]
    assert join_columns(model, config(columns))({"f.float64": np.eye(2)}).columns.tolist() == ["b", "a"]


def test_several_inputs_are_a_mapping_for_what_is_of_no_library() -> None:
    given = join_columns(Plain(), config(several=True))(ARRAYS)
    assert {name: array.tolist() for name, array in given.items()} == {
        "age": [[31], [40], [22], [55]],
        "city": [["Bern"], [None], ["Lima"], ["Bern"]],
        "income": pytest.approx(ARRAYS["f.float64"], nan_ok=True),
        "size": [[1], [2], [3], [4]],
        "job": [["a"], ["b"], ["a"], ["b"]],
    }


@pytest.mark.parametrize(
    ("fitted", "several", "said"),
    [
        (["age", "city", "incme", "size", "job"], False,
         "the config names the column income, which the model was not fitted with: write incme"),
        (["age", "city", "income", "size"], False,
         "the config names the column job, which the model was not fitted with: remove it from columns"),
        (["age", "city", "income", "size", "job", "x", "y z"], False,
         'the model was fitted with the column x, which the config does not name: add {name: "x", dtype: float64}, '
         '{name: "y z", dtype: float64} to columns, with the dtype that it had'),
        (["age", "city", "income", "size", "job", "x"], True,
         'add {name: "x", shape: [-1, 1], dtype: float64} to input'),
    ],
)  # fmt: skip
def test_other_columns_than_those_of_the_fit_are_said(fitted: list[str], several: bool, said: str) -> None:
    with pytest.raises(LoadError) as caught:
        join_columns(Fitted(*fitted), config(several=several))
    assert said in str(caught.value)


def test_a_missing_pandas_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib.dump(LinearRegression().fit(np.eye(2), [1, 2]), tmp_path / "m.joblib")
    for name in [name for name in sys.modules if name.split(".")[0] == "pandas"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_WithoutPandas(), *sys.meta_path])
    columns = [("a", "float64"), ("b", "object")]
    with pytest.raises(LoadError, match=r"the model needs pandas, which is not installed.*: pip install pandas$"):
        load_predictor(tmp_path, config(columns, kind="joblib", model_file="m.joblib"))


def test_a_pipeline_on_mixed_columns_answers_as_the_original(tmp_path: Path) -> None:
    numbers = make_pipeline(StandardScaler(), "passthrough")
    prepare = make_column_transformer(
        (numbers, ["income", "age", "size"]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["job", "city"]),
    )
    model = make_pipeline(prepare, HistGradientBoostingClassifier(min_samples_leaf=1)).fit(TABLE, [0, 1, 0, 1])
    joblib.dump(model, tmp_path / "m.joblib")
    made = config([*COLUMNS[3:], *COLUMNS[:3]], kind="joblib", model_file="m.joblib", method="predict_proba")
    swapped = {name: array[:, ::-1] for name, array in ARRAYS.items()}
    assert load_predictor(tmp_path, made)(swapped) == pytest.approx(model.predict_proba(TABLE))


def test_a_class_of_the_users_own_gets_a_data_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "users_table.py").write_text("class Model:\n    def predict(self, X):\n        return X\n")
    keys: dict[str, Any] = {"class": "users_table:Model"}
    made = config(kind="python", kwargs="{}", import_roots='["."]', **keys)
    pd.testing.assert_frame_equal(load_predictor(tmp_path, made)(ARRAYS), TABLE)


def without_quick_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pandas that has neither the public way of 3.0 nor what pyarrow uses before it."""
    monkeypatch.setitem(sys.modules, "pandas.api.internals", None)
    monkeypatch.setattr("pandas.core.internals.BlockManager", None)


@pytest.mark.parametrize("order", [["age", "city", "income", "size", "job"], ["job", "income", "size", "age", "city"]])
def test_another_pandas_makes_the_same_slowly(monkeypatch: pytest.MonkeyPatch, order: list[str]) -> None:
    without_quick_ways(monkeypatch)
    frame = join_columns(Fitted(*order), config())(ARRAYS)
    pd.testing.assert_frame_equal(frame, TABLE[order])


def test_a_data_frame_may_be_written_to() -> None:
    """Triton's own arrays are read-only."""
    arrays = {name: array.copy() for name, array in ARRAYS.items()}
    for array in arrays.values():
        array.setflags(write=False)
    frame = join_columns(Plain(), config())(arrays)
    frame.iloc[0, 0] = 5
    frame["new"] = frame["income"] * 2
    assert (frame["age"].tolist()[0], arrays["f.int64"][0, 0]) == (5, 31)


class _Booster:
    __module__ = "lightgbm.basic"

    def __init__(self) -> None:
        self.pandas_categorical = [["Bern", "Lima"]]
        self.params = {"categorical_column": [1]}


def test_columns_that_lightgbm_knows_as_categories_are_categories() -> None:
    model = Fitted(*TABLE)
    model.booster = _Booster()  # type: ignore[attr-defined]  # as LGBMClassifier has it
    frame = join_columns(model, config())(ARRAYS)
    assert frame["city"].tolist()[2:] == ["Lima", "Bern"]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "age": "int64", "city": "category", "income": "float64", "size": "int64", "job": "object",
    }  # fmt: skip


def test_a_missing_text_is_nan_for_a_model_whose_fit_saw_that() -> None:
    model = Fitted(*TABLE)
    model.encoder = OneHotEncoder().fit(TABLE[["city"]].fillna(np.nan))  # type: ignore[attr-defined]
    frame = join_columns(model, config())(ARRAYS)
    assert frame["city"].isna().tolist() == [False, True, False, False]
    assert all(value is not None for value in frame["city"])
    assert ARRAYS["f.object"][1, 0] is None
