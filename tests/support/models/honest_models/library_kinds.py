"""Models of pandas, boosters, statsmodels and others, where these are installed."""

# Most of the libraries are not where types are checked.
# mypy: ignore-errors

import numpy as np
from sklearn import (
    compose,
    ensemble,
    linear_model,
    model_selection,
    pipeline,
    preprocessing,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401

from .samples import COUNTS, HOLES, LETTERS, Make, R, X, Y


def pandas_models() -> dict[str, Make]:
    """Models that were fitted with a DataFrame, and what pandas itself makes."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "age": X[:, 0],
            "pay": X[:, 1],
            "city": pd.Categorical(LETTERS),
            "when": pd.date_range("2024-01-01", periods=60),
        }
    )
    columns = compose.ColumnTransformer(
        [("n", preprocessing.StandardScaler(), ["age", "pay"]), ("c", preprocessing.OneHotEncoder(), ["city"])]
    )
    by_dtype = compose.make_column_transformer(
        (preprocessing.StandardScaler(), compose.make_column_selector(dtype_include=np.number)),
        (preprocessing.OneHotEncoder(), compose.make_column_selector(dtype_include=["category", "object"])),
    )
    plain = frame[["age", "pay"]]
    return {
        "frame_columns": lambda: pipeline.make_pipeline(columns, linear_model.LogisticRegression()).fit(frame, Y),
        "frame_selector": lambda: pipeline.make_pipeline(by_dtype, linear_model.LogisticRegression()).fit(
            frame[["age", "city"]], Y
        ),
        "frame_out": lambda: (
            pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge())
            .set_output(transform="pandas")
            .fit(plain, R)
        ),
        "frame_search": lambda: model_selection.GridSearchCV(linear_model.Ridge(), {"alpha": [1, 2]}, cv=3).fit(
            plain, pd.Series(R, name="r")
        ),
        "frame_hist": lambda: ensemble.HistGradientBoostingClassifier(max_iter=3).fit(plain, Y),
        "frame_itself": lambda: {
            "frame": frame,
            "series": frame["age"],
            "index": frame.set_index("city").index,
            "many": frame.set_index(["city", "age"]),
            "strings": pd.Series(["a", "b"], dtype="string"),
            "ints": pd.array([1, None], dtype="Int64"),
            "stamp": pd.Timestamp("2024-01-01"),
            "span": pd.Timedelta("1D"),
            "bins": pd.cut(frame["age"], 3),
            "na": pd.NA,
            "nat": pd.NaT,
            "period": pd.Period("2024-01"),
            "bools": pd.array([True, None], dtype="boolean"),
            "zone": pd.Timestamp("2024-01-01", tz="UTC"),
            "zones": pd.date_range("2024-01-01", periods=2, tz="UTC"),
            "text": frame.astype({"city": str}),
        },
    }


def boosted_models() -> dict[str, Make]:
    """LightGBM, XGBoost and CatBoost."""
    made: dict[str, Make] = {}
    try:
        import lightgbm as lgb
    except ImportError:
        pass
    else:
        quiet = {"verbosity": -1, "n_estimators": 3, "min_child_samples": 2}
        made |= {
            "lgb_classifier": lambda: lgb.LGBMClassifier(**quiet).fit(X, Y),
            "lgb_regressor": lambda: lgb.LGBMRegressor(**quiet).fit(X, R),
            "lgb_letters": lambda: lgb.LGBMClassifier(**quiet).fit(X, LETTERS),
            "lgb_ranker": lambda: lgb.LGBMRanker(**quiet).fit(X, Y, group=[30, 30]),
            "lgb_booster": lambda: lgb.train({"verbosity": -1}, lgb.Dataset(X, Y), 3),
            "lgb_scaled": lambda: pipeline.make_pipeline(
                preprocessing.StandardScaler(), lgb.LGBMClassifier(**quiet)
            ).fit(X, Y),
            "lgb_valid": lambda: lgb.LGBMClassifier(**quiet).fit(
                X, Y, eval_set=[(X, Y)], callbacks=[lgb.early_stopping(2, verbose=False)]
            ),
        }
    try:
        import xgboost as xgb
    except ImportError:
        pass
    else:
        made |= {
            "xgb_classifier": lambda: xgb.XGBClassifier(n_estimators=3).fit(X, Y),
            "xgb_regressor": lambda: xgb.XGBRegressor(n_estimators=3).fit(X, R),
            "xgb_forest": lambda: xgb.XGBRFClassifier(n_estimators=3).fit(X, Y),
            "xgb_ranker": lambda: xgb.XGBRanker(n_estimators=3).fit(X, Y, group=[30, 30]),
            "xgb_booster": lambda: xgb.train({}, xgb.DMatrix(X, label=Y), 3),
            "xgb_scaled": lambda: pipeline.make_pipeline(
                preprocessing.StandardScaler(), xgb.XGBRegressor(n_estimators=3)
            ).fit(X, R),
            "xgb_search": lambda: model_selection.GridSearchCV(
                xgb.XGBClassifier(n_estimators=2), {"max_depth": [1, 2]}, cv=2
            ).fit(X, Y),
        }
    try:
        import catboost
    except ImportError:
        pass
    else:
        silent = {"iterations": 3, "verbose": False, "allow_writing_files": False}
        made |= {
            "cat_classifier": lambda: catboost.CatBoostClassifier(**silent).fit(X, Y),
            "cat_regressor": lambda: catboost.CatBoostRegressor(**silent).fit(X, R),
            "cat_ranker": lambda: catboost.CatBoostRanker(**silent).fit(X, Y, group_id=[0] * 30 + [1] * 30),
            "cat_plain": lambda: catboost.CatBoost(silent).fit(X, R),
        }
    return made


def statistical_models() -> dict[str, Make]:
    """What statsmodels fits, with its data and without."""
    import statsmodels.api as sm
    from statsmodels.tsa.arima.model import ARIMA
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    wide = sm.add_constant(X)
    series = 5 + np.sin(np.arange(60)) + X[:, 0] / 10
    stripped = sm.OLS(R, wide).fit()
    stripped.remove_data()
    return {
        "ols": lambda: sm.OLS(R + X[:, 2], wide).fit(),
        "ols_without_data": lambda: stripped,
        "wls": lambda: sm.WLS(R + X[:, 2], wide).fit(),
        "rlm": lambda: sm.RLM(R + X[:, 2], wide).fit(),
        "quantreg": lambda: sm.QuantReg(R + X[:, 2], wide).fit(),
        "logit": lambda: sm.Logit(COUNTS[:, 0] > 1, wide).fit(disp=0),
        "probit": lambda: sm.Probit(COUNTS[:, 0] > 1, wide).fit(disp=0),
        "poisson_sm": lambda: sm.Poisson(COUNTS[:, 0], wide).fit(disp=0),
        "mnlogit": lambda: sm.MNLogit(COUNTS[:, 0].clip(0, 2), wide).fit(disp=0),
        "glm_binomial": lambda: sm.GLM(COUNTS[:, 0] > 1, wide, family=sm.families.Binomial()).fit(),
        "glm_poisson": lambda: sm.GLM(COUNTS[:, 0], wide, family=sm.families.Poisson()).fit(),
        "glm_gamma": lambda: sm.GLM(COUNTS[:, 0] + 1.0, wide, family=sm.families.Gamma(sm.families.links.Log())).fit(),
        "arima": lambda: ARIMA(series, order=(1, 0, 0)).fit(),
        "smoothing": lambda: ExponentialSmoothing(series, trend="add").fit(),
    }


def more_models() -> dict[str, Make]:
    """imbalanced-learn, category_encoders, feature_engine and sklearn_pandas."""
    return balanced_models() | encoded_models() | engineered_models() | mapped_models()


def balanced_models() -> dict[str, Make]:
    """imbalanced-learn."""
    try:
        import imblearn.ensemble
        import imblearn.over_sampling
        import imblearn.pipeline
        import imblearn.under_sampling
    except ImportError:
        return {}
    else:
        lr, few = linear_model.LogisticRegression, (X[:, 0] > 0.7).astype(int)
        return {
            "smote": lambda: imblearn.pipeline.make_pipeline(imblearn.over_sampling.SMOTE(k_neighbors=2), lr()).fit(
                X, few
            ),
            "under": lambda: imblearn.pipeline.make_pipeline(imblearn.under_sampling.RandomUnderSampler(), lr()).fit(
                X, few
            ),
            "balanced_forest": lambda: imblearn.ensemble.BalancedRandomForestClassifier(
                3, sampling_strategy="all", replacement=True, bootstrap=False
            ).fit(X, few),
            "easy": lambda: imblearn.ensemble.EasyEnsembleClassifier(2).fit(X, few),
            "balanced_bagging": lambda: imblearn.ensemble.BalancedBaggingClassifier(n_estimators=2).fit(X, few),
        }


def encoded_models() -> dict[str, Make]:
    """category_encoders."""
    made: dict[str, Make] = {}
    try:
        import category_encoders as ce
        import pandas as pd
    except ImportError:
        pass
    else:
        frame = pd.DataFrame({"city": LETTERS, "age": X[:, 0]})
        for name in (
            "TargetEncoder",
            "OrdinalEncoder",
            "OneHotEncoder",
            "BinaryEncoder",
            "CountEncoder",
            "WOEEncoder",
            "LeaveOneOutEncoder",
            "HashingEncoder",
            "CatBoostEncoder",
            "JamesSteinEncoder",
        ):
            made[f"ce_{name}"] = lambda name=name: pipeline.make_pipeline(
                getattr(ce, name)(cols=["city"]), linear_model.LogisticRegression()
            ).fit(frame, pd.Series(Y))  # type: ignore[misc]
    return made


def engineered_models() -> dict[str, Make]:
    """feature_engine."""
    try:
        import feature_engine.encoding
        import feature_engine.imputation
        import feature_engine.outliers
        import pandas as pd
    except Exception:
        return {}
    else:
        table = pd.DataFrame({"city": LETTERS, "age": HOLES[:, 0], "pay": X[:, 1]})
        return {
            "fe_imputed": lambda: pipeline.make_pipeline(
                feature_engine.imputation.MeanMedianImputer(variables=["age"]),
                feature_engine.encoding.OrdinalEncoder(variables=["city"]),
                linear_model.LogisticRegression(),
            ).fit(table, pd.Series(Y)),
            "fe_winsorized": lambda: feature_engine.outliers.Winsorizer(variables=["pay"]).fit(table),
            "fe_rare": lambda: feature_engine.encoding.RareLabelEncoder(n_categories=1).fit(
                table[["city"]].astype(str)
            ),
        }


def mapped_models() -> dict[str, Make]:
    """sklearn_pandas."""
    try:
        import pandas as pd
        import sklearn_pandas
    except Exception:
        return {}
    steps = [(["a"], preprocessing.StandardScaler()), ("b", None)]
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    return {"mapper": lambda: sklearn_pandas.DataFrameMapper(steps).fit(frame)}
