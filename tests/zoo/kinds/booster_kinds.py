"""XGBoost, LightGBM and CatBoost, through scikit-learn's interface and in their own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import xgboost

from .samples_of_people import BOTH, CHURN, COUNTS, GAPS, HOLES, NUMBERS, PEOPLE, THREE, R, X, Y
from .specimen import Make, Specimen, dumped, write_rows

_TABLE = GAPS.drop(columns="member")
_LIGHT = {"n_estimators": 5, "verbosity": -1, "min_child_samples": 2}
_CAT: dict[str, Any] = {"iterations": 5, "verbose": False, "allow_writing_files": False}


def _saved(fit: Callable[[], Any], file: str, data: Any = None) -> Make:
    def make(folder: Path) -> list[str]:
        fit().save_model(str(folder / file))
        return [str(folder / file), *(write_rows(folder, data) if data is not None else [])]

    return make


def _fit_cat() -> catboost.CatBoostClassifier:
    table = PEOPLE.drop(columns="member")
    return catboost.CatBoostClassifier(**_CAT, cat_features=["city"]).fit(table, CHURN)


def _list_categories() -> Any:
    return _TABLE.astype({"city": "category"})


def _number_codes() -> Any:
    return NUMBERS.assign(code=COUNTS[:, 0])


def _fit_light() -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(**_LIGHT).fit(_list_categories(), CHURN)


def _fit_light_booster() -> lightgbm.Booster:
    return _fit_light().booster_


def _fit_coded() -> lightgbm.LGBMRegressor:
    return lightgbm.LGBMRegressor(**_LIGHT).fit(_number_codes().astype({"code": "category"}), R)


def _fit_extreme() -> xgboost.XGBRegressor:
    return xgboost.XGBRegressor(n_estimators=5, enable_categorical=True).fit(_list_categories(), R)


def _fit_cat_codes() -> catboost.CatBoostRegressor:
    return catboost.CatBoostRegressor(**_CAT, cat_features=["code"]).fit(_number_codes(), R)


def list_booster_kinds() -> list[Specimen]:
    """List them."""
    return [*_list_xgboost(), *_list_others()]


def _list_xgboost() -> list[Specimen]:
    matrix, few = xgboost.DMatrix(NUMBERS, label=R), {"n_estimators": 5}
    framed = dumped(lambda: xgboost.XGBRegressor(**few).fit(NUMBERS, R), data=NUMBERS)
    native = _saved(lambda: xgboost.train({}, matrix, 5), "model.ubj", NUMBERS)
    json = _saved(lambda: xgboost.XGBClassifier(**few).fit(X, THREE), "model.json")
    return [
        Specimen("xgb", "XGBClassifier, joblib", dumped(lambda: xgboost.XGBClassifier(**few).fit(HOLES, Y))),
        Specimen("xgb_frame", "XGBRegressor, DataFrame", framed),
        Specimen("xgb_json", "XGBoost's JSON", json),
        Specimen("xgb_ubj", "XGBoost's UBJ, of columns", native),
        Specimen("xgb_both", "XGBRegressor, multi-output", dumped(lambda: xgboost.XGBRegressor(**few).fit(X, BOTH))),
        Specimen("xgb_categories", "XGBRegressor, pandas categories", dumped(_fit_extreme, data=_TABLE)),
        Specimen("xgb_categories_ubj", "UBJ with categories", _saved(_fit_extreme, "model.ubj", _TABLE)),
        Specimen("xgb_booster", "pickled Booster", dumped(lambda: xgboost.train({}, matrix, 5)), served=False),
    ]


def _list_others() -> list[Specimen]:
    table = PEOPLE.drop(columns="member")
    text = _saved(lambda: lightgbm.LGBMRegressor(**_LIGHT).fit(NUMBERS, R).booster_, "model.txt")
    native = _saved(lambda: catboost.CatBoostRegressor(**_CAT).fit(NUMBERS, R), "model.cbm")
    cat = dumped(lambda: catboost.CatBoostClassifier(**_CAT).fit(X, THREE))
    return [
        Specimen("lgb", "LGBMClassifier, joblib", dumped(lambda: lightgbm.LGBMClassifier(**_LIGHT).fit(X, THREE))),
        Specimen("lgb_categories", "LGBMClassifier, pandas categories", dumped(_fit_light, data=_TABLE)),
        Specimen("lgb_codes", "LGBMRegressor, categories of ints", dumped(_fit_coded)),
        Specimen("lgb_text", "LightGBM's text", text),
        Specimen("lgb_categories_text", "LightGBM's text with categories", _saved(_fit_light_booster, "model.txt")),
        Specimen("cat", "CatBoostClassifier, joblib", cat),
        Specimen("cat_codes", "CatBoost, categories of ints", dumped(_fit_cat_codes, data=_number_codes())),
        Specimen("cat_cities", "CatBoostClassifier, a categorical column", dumped(_fit_cat, data=table)),
        Specimen("cat_cbm", "CatBoost's .cbm", native),
        Specimen("cat_cities_cbm", ".cbm with a categorical column", _saved(_fit_cat, "model.cbm", table)),
    ]
