"""Models of scikit-learn that were trained with a DataFrame, as most are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC

from .samples_of_people import CHURN, GAPS, MOOD, NUMBERS, PEOPLE, TEXTS, THREE, R
from .specimen import Specimen, dumped

_NUMERIC, _WORDY = ["age", "pay"], ["city"]


def _mixed() -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), _NUMERIC),
            ("city", OneHotEncoder(handle_unknown="ignore"), _WORDY),
        ],
        remainder="passthrough",
    )


def _imputed() -> ColumnTransformer:
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_column_transformer(
        (SimpleImputer(add_indicator=True), make_column_selector(dtype_include=np.number)),
        (texts, make_column_selector(dtype_include=object)),
    )


def _categorical() -> HistGradientBoostingClassifier:
    table = GAPS.drop(columns="member").astype({"city": "category"})
    return HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype").fit(table, CHURN)


def _reviewed() -> pd.DataFrame:
    return PEOPLE[["age"]].assign(review=TEXTS)


_SVC = CalibratedClassifierCV(SVC(), cv=3)
_VOTES = [("bayes", GaussianNB()), ("line", LogisticRegression())]


def list_frame_kinds() -> list[Specimen]:
    """List them."""
    line = LogisticRegression(max_iter=500)
    forest = RandomForestClassifier(10, random_state=0)
    search = GridSearchCV(make_pipeline(_mixed(), line), {"logisticregression__C": [0.1, 1]}, cv=2)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    boosted = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0])
    ordered = make_pipeline(make_column_transformer((ordinal, _WORDY), remainder="passthrough"), boosted)
    text = make_column_transformer((TfidfVectorizer(), "review"), (StandardScaler(), ["age"]))
    logged = make_pipeline(FunctionTransformer(np.log1p, feature_names_out="one-to-one"), StandardScaler(), Ridge())
    bare = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), _WORDY), remainder="drop")
    fits = [
        (
            "columns",
            "ColumnTransformer on mixed columns",
            dumped(lambda: make_pipeline(_mixed(), line).fit(PEOPLE, CHURN), data=PEOPLE),
        ),
        (
            "columns_made_up",
            "the same without --data",
            dumped(lambda: make_pipeline(_mixed(), line).fit(PEOPLE, CHURN)),
        ),
        (
            "gaps",
            "imputers on columns with gaps",
            dumped(lambda: make_pipeline(_imputed(), forest).fit(GAPS, CHURN), data=GAPS),
        ),
        ("gaps_made_up", "the same without --data", dumped(lambda: make_pipeline(_imputed(), forest).fit(GAPS, CHURN))),
        (
            "unknown_city",
            "OneHotEncoder that saw NaN",
            dumped(lambda: make_pipeline(bare, line).fit(GAPS, CHURN), data=GAPS),
        ),
        (
            "ordinal",
            "OrdinalEncoder with NaN, HistGradientBoosting",
            dumped(lambda: ordered.fit(GAPS, CHURN), data=GAPS),
        ),
        (
            "categories",
            "HistGradientBoosting, pandas categories",
            dumped(_categorical, data=GAPS.drop(columns="member")),
        ),
        ("search", "GridSearchCV of a Pipeline", dumped(lambda: search.fit(PEOPLE, CHURN), data=PEOPLE)),
        (
            "review",
            "text column beside numbers",
            dumped(lambda: make_pipeline(text, line).fit(_reviewed(), MOOD), data=_reviewed()),
        ),
        ("calibrated", "calibrated SVC", dumped(lambda: _SVC.fit(NUMBERS, THREE))),
        ("stacking", "StackingClassifier", dumped(lambda: StackingClassifier(_VOTES, cv=3).fit(NUMBERS, THREE))),
        (
            "voting",
            "soft VotingClassifier, xz",
            dumped(lambda: VotingClassifier(_VOTES, voting="soft").fit(NUMBERS, THREE), compress=("xz", 3)),
        ),
        (
            "logged",
            "FunctionTransformer(np.log1p)",
            dumped(lambda: logged.fit(np.abs(NUMBERS), R), data=np.abs(NUMBERS)),
        ),
        (
            "member",
            "bool labels",
            dumped(
                lambda: make_pipeline(_mixed(), forest).fit(PEOPLE[["age", "pay", "city"]], PEOPLE["member"]),
                data=PEOPLE,
            ),
        ),
        (
            "prices",
            "RandomForestRegressor of columns",
            dumped(lambda: make_pipeline(_mixed(), RandomForestRegressor(5)).fit(PEOPLE, R), data=PEOPLE),
        ),
    ]
    return [Specimen(*each) for each in fits]
