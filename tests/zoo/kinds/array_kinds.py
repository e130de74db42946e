"""Models of scikit-learn that were trained with arrays or texts: those of the honest models, saved as people save."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from tests.support.models.honest_models.sklearn_kinds import sklearn_models

from .samples_of_people import BOTH, MOOD, TEXTS, X
from .specimen import Make, Specimen, dumped

_HONEST = {
    "kmeans": "KMeans", "pca": "PCA", "isolation": "IsolationForest", "mixture": "GaussianMixture",
    "lof": "LocalOutlierFactor(novelty)", "one_class": "OneClassSVM", "mlp": "MLPClassifier",
    "gp_regressor": "GaussianProcessRegressor", "hist_missing": "HistGradientBoosting with NaN",
    "hist_letters": "HistGradientBoosting, categories, string labels", "svr": "SVR",
    "knn_regressor": "KNeighborsRegressor",
    "linear": "LinearRegression", "lasso_cv": "LassoCV", "forest_multi": "multi-output forest",
    "hist_quantile": "quantile regressor", "poisson": "PoissonRegressor", "pls": "PLSRegression",
    "target_functions": "TransformedTargetRegressor", "linear_svc": "LinearSVC", "multi": "MultiOutputClassifier",
    "forest_letters": "RandomForest, string labels", "iterative": "IterativeImputer", "scaler": "RobustScaler",
    "isotonic": "IsotonicRegression", "text_svd": "TF-IDF, TruncatedSVD, LogisticRegression",
    "one_hot": "OneHotEncoder",
    "sparse_logistic": "LogisticRegression of a sparse matrix", "bayes": "BayesianRidge",
}  # fmt: skip
_REFUSED = {"dbscan": "DBSCAN, which cannot predict", "columns": "columns of an array of numbers and texts"}


def _pickled(fit: Callable[[], Any], file: str, write: Callable[[Any, Path], Any]) -> Make:
    def make(folder: Path) -> list[str]:
        write(fit(), folder / file)
        return [str(folder / file)]

    return make


def _pickle(model: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(model))


def _gzip(model: Any, path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(model)))


def _lz4(model: Any, path: Path) -> None:
    joblib.dump(model, path, compress="lz4")


def list_array_kinds() -> list[Specimen]:
    """List them."""
    honest = sklearn_models()
    topics = make_pipeline(CountVectorizer(), LatentDirichletAllocation(3, max_iter=2, random_state=0))
    spam = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), SGDClassifier(loss="modified_huber", random_state=0))
    bayes = make_pipeline(CountVectorizer(), MultinomialNB())
    several = MultiOutputRegressor(GradientBoostingRegressor(loss="quantile", alpha=0.9, n_estimators=5))
    return [
        *(Specimen(name, kind, dumped(honest[name])) for name, kind in _HONEST.items()),
        *(Specimen(f"{name}_array", kind, dumped(honest[name]), served=False) for name, kind in _REFUSED.items()),
        Specimen("spam", "TF-IDF on raw texts", dumped(lambda: spam.fit(TEXTS, MOOD), data=TEXTS)),
        Specimen("topics", "LDA on raw texts", dumped(lambda: topics.fit(TEXTS))),
        Specimen(
            "sentiment",
            "raw texts, string labels, pickle",
            _pickled(lambda: bayes.fit(TEXTS, ["bad" if mood else "good" for mood in MOOD]), "model.pickle", _pickle),
        ),
        Specimen("zipped", "pickle in gzip", _pickled(honest["forest"], "model.pkl.gz", _gzip)),
        Specimen("packed", "joblib with lz4", _pickled(honest["boosting"], "model.joblib.lz4", _lz4)),
        Specimen("intervals", "quantile regressors, multi-output", dumped(lambda: several.fit(X, BOTH), data=X)),
    ]
