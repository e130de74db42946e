"""Models of scikit-learn that were trained with a DataFrame, as most are."""

from __future__ import annotations

import numpy as np
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
    return HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype").fit(table, CHURN)


_SVC = CalibratedClassifierCV(SVC(), cv=3)
_VOTES = [("bayes", GaussianNB()), ("line", LogisticRegression())]


def list_frame_kinds() -> list[Specimen]:
    """List them."""
    return [*_list_tables(), *_list_gaps(), *_list_numbers()]


def _list_tables() -> list[Specimen]:
    line = LogisticRegression(max_iter=500)
    search = GridSearchCV(make_pipeline(_mixed(), line), {"logisticregression__C": [0.1, 1]}, cv=2)
    text = make_column_transformer((TfidfVectorizer(), "review"), (StandardScaler(), ["age"]))
    reviewed = PEOPLE[["age"]].assign(review=TEXTS)
    mixed, forest = make_pipeline(_mixed(), line), RandomForestClassifier(10, random_state=0)
    some = PEOPLE[["age", "pay", "city"]]
    return [
        Specimen("columns", "ColumnTransformer, mixed columns", dumped(lambda: mixed.fit(PEOPLE, CHURN), data=PEOPLE)),
        Specimen("columns_made_up", "the same without --data", dumped(lambda: mixed.fit(PEOPLE, CHURN))),
        Specimen("search", "GridSearchCV of a Pipeline", dumped(lambda: search.fit(PEOPLE, CHURN), data=PEOPLE)),
        Specimen(
            "review",
            "text column beside numbers",
            dumped(lambda: make_pipeline(text, line).fit(reviewed, MOOD), data=reviewed),
        ),
        Specimen(
            "member",
            "bool labels",
            dumped(lambda: make_pipeline(_mixed(), forest).fit(some, PEOPLE["member"]), data=PEOPLE),
        ),
        Specimen(
            "prices",
            "RandomForestRegressor of columns",
            dumped(lambda: make_pipeline(_mixed(), RandomForestRegressor(5)).fit(PEOPLE, R), data=PEOPLE),
        ),
    ]


def _list_gaps() -> list[Specimen]:
    line, forest = LogisticRegression(max_iter=500), RandomForestClassifier(10, random_state=0)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    boosted = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0])
    ordered = make_pipeline(make_column_transformer((ordinal, _WORDY), remainder="passthrough"), boosted)
    bare = make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), _WORDY)), line)
    imputed = make_pipeline(_imputed(), forest)
    some = GAPS.drop(columns="member")
    return [
        Specimen("gaps", "imputers on columns with gaps", dumped(lambda: imputed.fit(GAPS, CHURN), data=GAPS)),
        Specimen("gaps_made_up", "the same without --data", dumped(lambda: imputed.fit(GAPS, CHURN))),
        Specimen("unknown_city", "OneHotEncoder that saw NaN", dumped(lambda: bare.fit(GAPS, CHURN), data=GAPS)),
        Specimen(
            "ordinal",
            "OrdinalEncoder with NaN, HistGradientBoosting",
            dumped(lambda: ordered.fit(GAPS, CHURN), data=GAPS),
        ),
        Specimen("categories", "HistGradientBoosting, pandas categories", dumped(_categorical, data=some)),
    ]


def _list_numbers() -> list[Specimen]:
    logged = make_pipeline(FunctionTransformer(np.log1p, feature_names_out="one-to-one"), StandardScaler(), Ridge())
    positive = np.abs(NUMBERS)
    votes, stacked = VotingClassifier(_VOTES, voting="soft"), StackingClassifier(_VOTES, cv=3)
    return [
        Specimen("calibrated", "calibrated SVC", dumped(lambda: _SVC.fit(NUMBERS, THREE))),
        Specimen("stacking", "StackingClassifier", dumped(lambda: stacked.fit(NUMBERS, THREE))),
        Specimen("voting", "soft VotingClassifier, xz", dumped(lambda: votes.fit(NUMBERS, THREE), compress=("xz", 3))),
        Specimen("logged", "FunctionTransformer(np.log1p)", dumped(lambda: logged.fit(positive, R), data=positive)),
    ]
