"""Many kinds of fitted models, as people have them: `python honest_models.py FOLDER` saves what can be made there.

Imports what the environment has, and nothing of this project.
"""

# Most of the libraries are not where types are checked.
# mypy: ignore-errors

import gzip
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.sparse
import scipy.stats
from sklearn import (
    calibration,
    cluster,
    compose,
    covariance,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    isotonic,
    kernel_approximation,
    kernel_ridge,
    linear_model,
    manifold,
    metrics,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    semi_supervised,
    svm,
    tree,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer

_RANDOM = np.random.RandomState(3)
X = _RANDOM.normal(size=(60, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
LETTERS = np.array(["a", "b"], dtype=object)[Y]
R = X[:, 0] * 2 + X[:, 1]
BOTH = np.column_stack([R, X[:, 2]])
MIXED = np.column_stack([X.astype(object), LETTERS])
HOLES = np.where(_RANDOM.uniform(size=X.shape) < 0.1, np.nan, X)
TEXTS = ["sea salt", "tea wind", "ash sea", "salt wind tea"] * 15
COUNTS = _RANDOM.poisson(2, size=(60, 4))

Make = Callable[[], Any]


def sklearn_models() -> dict[str, Make]:
    """Fitted by the call; each is small."""
    lr = linear_model.LogisticRegression
    columns = [("numbers", preprocessing.StandardScaler(), [0, 1, 2, 3]), ("words", preprocessing.OneHotEncoder(), [4])]
    classifiers = {
        "logistic": lr(),
        "logistic_cv": linear_model.LogisticRegressionCV(cv=3),
        "sgd": linear_model.SGDClassifier(),
        "sgd_log": linear_model.SGDClassifier(loss="log_loss"),
        "ridge_classifier": linear_model.RidgeClassifier(),
        "perceptron": linear_model.Perceptron(),
        "svc": svm.SVC(),
        "linear_svc": svm.LinearSVC(),
        "nu_svc": svm.NuSVC(),
        "calibrated_svc": calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=3),
        "calibrated_isotonic": calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), method="isotonic", cv=3),
        "tree": tree.DecisionTreeClassifier(),
        "extra_tree": tree.ExtraTreeClassifier(),
        "forest": ensemble.RandomForestClassifier(5),
        "forest_with_random": ensemble.RandomForestClassifier(3, random_state=_RANDOM),
        "extra_trees": ensemble.ExtraTreesClassifier(5),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=3),
        "hist_boosting": ensemble.HistGradientBoostingClassifier(max_iter=3),
        "ada": ensemble.AdaBoostClassifier(n_estimators=3),
        "bagging": ensemble.BaggingClassifier(lr(), n_estimators=3),
        "voting": ensemble.VotingClassifier([("a", lr()), ("b", tree.DecisionTreeClassifier())], voting="soft"),
        "stacking": ensemble.StackingClassifier([("a", lr()), ("b", naive_bayes.GaussianNB())], cv=3),
        "knn_kd": neighbors.KNeighborsClassifier(algorithm="kd_tree"),
        "knn_ball": neighbors.KNeighborsClassifier(algorithm="ball_tree"),
        "knn_brute": neighbors.KNeighborsClassifier(algorithm="brute"),
        "radius": neighbors.RadiusNeighborsClassifier(9.0),
        "centroid": neighbors.NearestCentroid(),
        "nca": neighbors.NeighborhoodComponentsAnalysis(max_iter=3),
        "gaussian_nb": naive_bayes.GaussianNB(),
        "bernoulli_nb": naive_bayes.BernoulliNB(),
        "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
        "qda": discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1),
        "mlp": neural_network.MLPClassifier((4,), max_iter=5),
        "mlp_adam_early": neural_network.MLPClassifier((4,), max_iter=5, early_stopping=True),
        "gp_classifier": gaussian_process.GaussianProcessClassifier(gaussian_process.kernels.RBF()),
        "one_vs_rest": multiclass.OneVsRestClassifier(lr()),
        "one_vs_one": multiclass.OneVsOneClassifier(lr()),
        "output_code": multiclass.OutputCodeClassifier(lr()),
        "self_training": semi_supervised.SelfTrainingClassifier(lr()),
        "label_propagation": semi_supervised.LabelPropagation(),
        "dummy": dummy.DummyClassifier(),
        "grid": model_selection.GridSearchCV(lr(), {"C": [0.1, 1]}, cv=3, scoring="f1"),
        "randomized": model_selection.RandomizedSearchCV(
            lr(), {"C": scipy.stats.uniform(0, 4)}, n_iter=2, cv=3, random_state=1
        ),
        "randomized_int": model_selection.RandomizedSearchCV(
            tree.DecisionTreeClassifier(), {"max_depth": scipy.stats.randint(1, 5)}, n_iter=2, cv=3
        ),
        "grid_scorers": model_selection.GridSearchCV(
            lr(),
            {"C": [1]},
            cv=model_selection.StratifiedKFold(3),
            refit="f",
            scoring={"f": metrics.make_scorer(metrics.fbeta_score, beta=2), "auc": "roc_auc", "loss": "neg_log_loss"},
        ),
        "scaled": pipeline.make_pipeline(preprocessing.StandardScaler(), lr()),
        "selected": pipeline.make_pipeline(feature_selection.SelectKBest(k=2), lr()),
        "selected_mutual": pipeline.make_pipeline(
            feature_selection.SelectPercentile(feature_selection.mutual_info_classif), lr()
        ),
        "union": pipeline.make_pipeline(
            pipeline.make_union(decomposition.PCA(2), preprocessing.PolynomialFeatures(2)), lr()
        ),
        "logged": pipeline.make_pipeline(
            preprocessing.FunctionTransformer(np.abs), preprocessing.FunctionTransformer(np.log1p), lr()
        ),
        "binned": pipeline.make_pipeline(preprocessing.KBinsDiscretizer(3), lr()),
        "rfe": feature_selection.RFE(lr(), n_features_to_select=2),
        "rfecv": feature_selection.RFECV(lr(), cv=3),
        "from_model": pipeline.make_pipeline(feature_selection.SelectFromModel(lr()), lr()),
        "quantile_ordered": pipeline.make_pipeline(preprocessing.QuantileTransformer(n_quantiles=10), lr()),
        "rbf_sampler": pipeline.make_pipeline(
            kernel_approximation.RBFSampler(n_components=5), linear_model.SGDClassifier()
        ),
        "nystroem": pipeline.make_pipeline(kernel_approximation.Nystroem(n_components=5), lr()),
        "chain": multioutput.ClassifierChain(lr()),
        "multi": multioutput.MultiOutputClassifier(lr()),
    }
    regressors = {
        "linear": linear_model.LinearRegression(),
        "ridge": linear_model.Ridge(),
        "ridge_cv": linear_model.RidgeCV(),
        "lasso": linear_model.Lasso(),
        "lasso_cv": linear_model.LassoCV(cv=3),
        "elastic": linear_model.ElasticNet(),
        "huber": linear_model.HuberRegressor(),
        "bayes": linear_model.BayesianRidge(),
        "ard": linear_model.ARDRegression(),
        "lars": linear_model.LassoLars(),
        "omp": linear_model.OrthogonalMatchingPursuit(),
        "sgd_regressor": linear_model.SGDRegressor(),
        "ransac": linear_model.RANSACRegressor(),
        "theil": linear_model.TheilSenRegressor(max_subpopulation=50),
        "quantile": linear_model.QuantileRegressor(),
        "tweedie": linear_model.TweedieRegressor(),
        "passive": svm.LinearSVR(),
        "svr": svm.SVR(),
        "tree_regressor": tree.DecisionTreeRegressor(),
        "forest_regressor": ensemble.RandomForestRegressor(4),
        "boosting_quantile": ensemble.GradientBoostingRegressor(loss="quantile", n_estimators=3),
        "boosting_init": ensemble.GradientBoostingRegressor(init=linear_model.Ridge(), n_estimators=3),
        "hist_regressor": ensemble.HistGradientBoostingRegressor(max_iter=3),
        "hist_quantile": ensemble.HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=3),
        "ada_regressor": ensemble.AdaBoostRegressor(n_estimators=3),
        "knn_regressor": neighbors.KNeighborsRegressor(),
        "kernel_ridge": kernel_ridge.KernelRidge(kernel="rbf"),
        "gp_regressor": gaussian_process.GaussianProcessRegressor(
            gaussian_process.kernels.RBF() + gaussian_process.kernels.WhiteKernel()
        ),
        "mlp_regressor": neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=5, solver="lbfgs"),
        "pls": cross_decomposition.PLSRegression(2),
        "target": compose.TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
        "target_functions": compose.TransformedTargetRegressor(
            linear_model.Ridge(), func=np.arcsinh, inverse_func=np.sinh
        ),
        "voting_regressor": ensemble.VotingRegressor(
            [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor())]
        ),
        "stacking_regressor": ensemble.StackingRegressor([("a", linear_model.Ridge())], cv=3),
        "splines": pipeline.make_pipeline(preprocessing.SplineTransformer(n_knots=3), linear_model.Ridge()),
        "power": pipeline.make_pipeline(preprocessing.PowerTransformer(), linear_model.Ridge()),
        "halving": model_selection.GridSearchCV(
            linear_model.Ridge(), {"alpha": np.logspace(-1, 1, 3)}, cv=3, scoring="r2"
        ),
    }
    others: dict[str, tuple[Any, ...]] = {
        "kmeans": (cluster.KMeans(2, n_init=1), X),
        "mini_kmeans": (cluster.MiniBatchKMeans(2, n_init=1), X),
        "birch": (cluster.Birch(n_clusters=2), X),
        "mean_shift": (cluster.MeanShift(), X),
        "affinity": (cluster.AffinityPropagation(), X),
        "dbscan": (cluster.DBSCAN(), X),
        "spectral": (cluster.SpectralClustering(2), X),
        "bisecting": (cluster.BisectingKMeans(2), X),
        "agglomeration": (cluster.FeatureAgglomeration(2), X),
        "hdbscan": (cluster.HDBSCAN(), X),
        "optics": (cluster.OPTICS(), X),
        "pca": (decomposition.PCA(2), X),
        "ipca": (decomposition.IncrementalPCA(2), X),
        "svd": (decomposition.TruncatedSVD(2), X),
        "nmf": (decomposition.NMF(2), np.abs(X)),
        "kernel_pca": (decomposition.KernelPCA(2, kernel="rbf"), X),
        "ica": (decomposition.FastICA(2), X),
        "factor": (decomposition.FactorAnalysis(2), X),
        "lda_topics": (decomposition.LatentDirichletAllocation(2), COUNTS),
        "dictionary": (decomposition.DictionaryLearning(2, max_iter=3), X),
        "isomap": (manifold.Isomap(n_components=2, n_neighbors=8), X),
        "lle": (manifold.LocallyLinearEmbedding(n_components=2), X),
        "isolation": (ensemble.IsolationForest(n_estimators=5), X),
        "one_class": (svm.OneClassSVM(), X),
        "lof": (neighbors.LocalOutlierFactor(novelty=True), X),
        "elliptic": (covariance.EllipticEnvelope(), X),
        "mixture": (mixture.GaussianMixture(2), X),
        "bayes_mixture": (mixture.BayesianGaussianMixture(n_components=2), X),
        "density": (neighbors.KernelDensity(), X),
        "nearest": (neighbors.NearestNeighbors(), X),
        "trees_embedding": (ensemble.RandomTreesEmbedding(n_estimators=3), X),
        "projection": (random_projection.GaussianRandomProjection(2), X),
        "sparse_projection": (random_projection.SparseRandomProjection(2), X),
        "scaler": (preprocessing.RobustScaler(), X),
        "minmax": (preprocessing.MinMaxScaler(), X),
        "normalizer": (preprocessing.Normalizer(), X),
        "one_hot": (preprocessing.OneHotEncoder(handle_unknown="ignore"), MIXED[:, 4:]),
        "ordinal": (preprocessing.OrdinalEncoder(), MIXED[:, 4:]),
        "label": (preprocessing.LabelEncoder(), LETTERS),
        "labels": (preprocessing.MultiLabelBinarizer(), [("a",), ("a", "b")]),
        "target_encoder": (preprocessing.TargetEncoder(cv=3), MIXED[:, 4:], Y),
        "imputer": (SimpleImputer(), HOLES),
        "knn_imputer": (KNNImputer(), HOLES),
        "iterative": (IterativeImputer(max_iter=2), HOLES),
        "missing": (MissingIndicator(features="all"), HOLES),
        "variance": (feature_selection.VarianceThreshold(), X),
        "count": (feature_extraction.text.CountVectorizer(), TEXTS),
        "hasher": (feature_extraction.FeatureHasher(4), [{"a": 1}]),
        "dict": (feature_extraction.DictVectorizer(), [{"a": 1, "b": "x"}]),
        "isotonic": (isotonic.IsotonicRegression(out_of_bounds="clip"), X[:, 0], R),
        "complement_nb": (naive_bayes.ComplementNB(), COUNTS, Y),
        "multinomial_nb": (naive_bayes.MultinomialNB(), COUNTS, Y),
        "categorical_nb": (naive_bayes.CategoricalNB(), COUNTS, Y),
        "poisson": (linear_model.PoissonRegressor(), X, COUNTS[:, 0]),
        "gamma": (linear_model.GammaRegressor(), X, COUNTS[:, 0] + 1.0),
        "hist_poisson": (ensemble.HistGradientBoostingRegressor(loss="poisson", max_iter=3), X, COUNTS[:, 0]),
        "multi_regressor": (multioutput.MultiOutputRegressor(linear_model.Ridge()), X, BOTH),
        "forest_multi": (ensemble.RandomForestRegressor(3), X, BOTH),
        "multi_lasso": (linear_model.MultiTaskLasso(), X, BOTH),
        "regressor_chain": (multioutput.RegressorChain(linear_model.Ridge()), X, BOTH),
        "logistic_letters": (lr(), X, LETTERS),
        "forest_letters": (ensemble.RandomForestClassifier(3), X, LETTERS),
        "hist_letters": (
            ensemble.HistGradientBoostingClassifier(max_iter=3, categorical_features=[3]),
            np.column_stack([X[:, :3], COUNTS[:, 0]]),
            LETTERS,
        ),
        "hist_missing": (ensemble.HistGradientBoostingClassifier(max_iter=3, monotonic_cst=[1, 0, 0, 0]), HOLES, Y),
        "text": (pipeline.make_pipeline(feature_extraction.text.TfidfVectorizer(), lr()), TEXTS, Y),
        "text_nb": (
            pipeline.make_pipeline(
                feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2), stop_words="english"),
                naive_bayes.MultinomialNB(),
            ),
            TEXTS,
            Y,
        ),
        "text_hash": (
            pipeline.make_pipeline(
                feature_extraction.text.HashingVectorizer(n_features=16), linear_model.SGDClassifier()
            ),
            TEXTS,
            Y,
        ),
        "text_svd": (
            pipeline.make_pipeline(feature_extraction.text.TfidfVectorizer(), decomposition.TruncatedSVD(2), lr()),
            TEXTS,
            Y,
        ),
        "columns": (pipeline.make_pipeline(compose.ColumnTransformer(columns), lr()), MIXED, Y),
        "columns_rest": (
            pipeline.make_pipeline(
                compose.ColumnTransformer(columns[1:], remainder="passthrough"), ensemble.RandomForestClassifier(3)
            ),
            MIXED,
            Y,
        ),
        "raveled": (
            pipeline.make_pipeline(
                preprocessing.FunctionTransformer(np.ravel), feature_extraction.text.TfidfVectorizer(), lr()
            ),
            np.array(TEXTS, dtype=object)[:, None],
            Y,
        ),
        "sparse_logistic": (lr(), scipy.sparse.csr_matrix(COUNTS), Y),
        "sparse_svc": (svm.SVC(), scipy.sparse.csr_matrix(COUNTS), Y),
        "sparse_knn": (neighbors.KNeighborsClassifier(), scipy.sparse.csr_matrix(COUNTS), Y),
        "ledoit": (covariance.LedoitWolf(), X),
    }
    fits = {
        **{name: (model, X, Y) for name, model in classifiers.items()},
        **{name: (model, X, R) for name, model in regressors.items()},
        **others,
    }
    for name in ("chain", "multi"):
        fits[name] = (classifiers[name], X, np.column_stack([Y, COUNTS[:, 0] > 1]))
    return {name: (lambda fit=fit: fit[0].fit(*fit[1:])) for name, fit in fits.items()}


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
    made: dict[str, Make] = {}
    try:
        import imblearn.ensemble
        import imblearn.over_sampling
        import imblearn.pipeline
        import imblearn.under_sampling
    except ImportError:
        pass
    else:
        lr, few = linear_model.LogisticRegression, (X[:, 0] > 0.7).astype(int)
        made |= {
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
    try:
        import feature_engine.encoding
        import feature_engine.imputation
        import feature_engine.outliers
        import pandas as pd
    except Exception:
        pass
    else:
        table = pd.DataFrame({"city": LETTERS, "age": HOLES[:, 0], "pay": X[:, 1]})
        made |= {
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
    try:
        import pandas as pd
        import sklearn_pandas
    except Exception:
        pass
    else:
        made["mapper"] = lambda: sklearn_pandas.DataFrameMapper(
            [(["a"], preprocessing.StandardScaler()), ("b", None)]
        ).fit(pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}))
    return made


def list_all() -> Iterator[tuple[str, Make]]:
    """Yield what can be made in this environment."""
    for kinds in (sklearn_models, pandas_models, boosted_models, statistical_models, more_models):
        try:
            yield from kinds().items()
        except ImportError:
            continue


def main(folder: Path) -> None:
    """Save each, in one of the ways that people use, and say what could not be made."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, make) in enumerate(list_all()):
        try:
            model = make()
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            continue
        save(model, folder / f"{name}.joblib", number)


def save(model: Any, path: Path, number: int) -> None:
    """Save as joblib does, compressed or not, or as pickle does, by protocols 2 to 5."""
    way = number % 6
    if way == 3:
        path.write_bytes(pickle.dumps(model, 2 + number // 6 % 4))
    elif way == 4:
        path.write_bytes(gzip.compress(pickle.dumps(model)))
    else:
        joblib.dump(model, path, compress=(0, 3, ("xz", 1), 0, 0, 0)[way])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
