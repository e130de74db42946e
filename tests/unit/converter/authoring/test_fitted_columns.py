"""What a fit says of its columns, and that the runtime's copy says the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from converter.authoring.object_probe import fitted_columns
from converter.authoring.object_probe.fitted_columns import fill_missing, find_categories, find_missing
from triton_repo_template.runtime.inputs import fitted_columns as runtimes_copy

CITIES = ["Bern", "Lima", "Bern", "Rome"]


def encoder_of(missing: Any) -> Any:
    table = pd.DataFrame({"city": pd.Series([*CITIES, missing], dtype=object)})
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]))
    return make_pipeline(encoder, LogisticRegression()).fit(table, [0, 1, 0, 1, 1])


def imputer_of(missing: Any) -> Any:
    table = pd.DataFrame({"city": pd.Series([*CITIES, missing], dtype=object)})
    return SimpleImputer(strategy="most_frequent", missing_values=missing).fit(table)


@pytest.mark.parametrize("make", [encoder_of, imputer_of])
def test_a_missing_text_is_what_the_fit_saw(make: Any) -> None:
    seen = find_missing(make(np.nan))
    assert seen is not None and math.isnan(seen)
    assert find_missing(make(None)) is None


def test_a_missing_text_is_none_if_the_fit_saw_none_at_all() -> None:
    assert find_missing(encoder_of("Oslo")) is None
    assert find_missing(LogisticRegression()) is None


def test_the_answer_to_a_missing_text_is_that_of_the_fits_own_table() -> None:
    model = encoder_of(np.nan)
    given = np.array(["Bern", None], dtype=object)
    asked = pd.DataFrame({"city": fill_missing(given, find_missing(model))})
    own = pd.DataFrame({"city": pd.Series(["Bern", np.nan], dtype=object)})
    assert model.predict_proba(asked).tolist() == model.predict_proba(own).tolist()
    # What clients sent stays as it was.
    assert given.tolist() == ["Bern", None]


class Booster:
    """As LightGBM's: which columns were categories, and what these are."""

    __module__ = "lightgbm.basic"

    def __init__(self, **params: Any) -> None:
        self.pandas_categorical = [["Bern", "Lima"], [3, 5]]
        self.params = params


class Wrapper:
    def __init__(self, model: Any) -> None:
        self.model = model


@pytest.mark.parametrize("key", ["categorical_column", "categorical_feature"])
def test_categories_are_those_that_lightgbm_names(key: str) -> None:
    model = Wrapper(Booster(**{key: [2, 0]}))
    assert find_categories(model, ["code", "age", "city"]) == {"city": ["Bern", "Lima"], "code": [3, 5]}


def test_other_models_have_no_categories() -> None:
    assert find_categories(Wrapper(Booster()), ["city", "code"]) == {}
    assert find_categories(encoder_of(None), ["city"]) == {}


def test_the_copy_in_the_runtime_is_the_same() -> None:
    assert Path(runtimes_copy.__file__).read_bytes() == Path(fitted_columns.__file__).read_bytes()
