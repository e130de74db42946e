"""MLflow's folders, skops files, and statsmodels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.xgboost
import pandas as pd
import skops.io
import statsmodels.api as sm
import statsmodels.formula.api as smf
import xgboost
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .samples_of_people import COUNTS, NUMBERS, PEOPLE, THREE, R, X, Y
from .specimen import Make, Specimen, dumped, write_rows


def _written_folder(save: Callable[[str], Any]) -> Make:
    def make(folder: Path) -> list[str]:
        save(str(folder / "model"))
        return [str(folder / "model")]

    return make


def _save_sklearn(path: str) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, THREE)
    mlflow.sklearn.save_model(model, path, input_example=NUMBERS.head(5), serialization_format="cloudpickle")


def _save_xgboost(path: str) -> None:
    model = xgboost.XGBRegressor(n_estimators=5).fit(X, R)
    mlflow.xgboost.save_model(model, path, model_format="json", signature=infer_signature(X, R))


class _Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is not typed here
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return model_input.sum(axis=1).to_numpy() * 2


def _save_pyfunc(path: str) -> None:
    signature = infer_signature(NUMBERS, NUMBERS.sum(axis=1).to_numpy())
    # As a class of a notebook is saved, which no module has.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    mlflow.pyfunc.save_model(path, python_model=_Sum(), signature=signature)


def _write_skops(folder: Path) -> list[str]:
    skops.io.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, THREE), folder / "model.skops")
    return [str(folder / "model.skops")]


def _write_formula(folder: Path) -> list[str]:
    table = PEOPLE[["age", "pay", "city"]].assign(target=R)
    joblib.dump(smf.ols("target ~ age + pay + C(city)", table).fit(), folder / "model.joblib")
    return [str(folder / "model.joblib"), *write_rows(folder, table.drop(columns="target"))]


def list_folder_kinds() -> list[Specimen]:
    """List them."""
    wide = sm.add_constant(X)
    return [
        Specimen("mlflow_sklearn", "MLflow folder, sklearn", _written_folder(_save_sklearn)),
        Specimen("mlflow_xgboost", "MLflow folder, xgboost", _written_folder(_save_xgboost)),
        Specimen("mlflow_pyfunc", "MLflow folder, pyfunc", _written_folder(_save_pyfunc)),
        Specimen("skops", "skops", _write_skops),
        Specimen("ols", "statsmodels OLS", dumped(lambda: sm.OLS(R, wide).fit())),
        Specimen("logit", "statsmodels Logit", dumped(lambda: sm.Logit(COUNTS[:, 0] > 1, wide).fit(disp=0))),
        Specimen("glm", "statsmodels GLM", dumped(lambda: sm.GLM(Y, wide, family=sm.families.Binomial()).fit())),
        Specimen("formula", "statsmodels formula of columns", _write_formula),
    ]
