"""The estimators of scikit-learn, and pipelines of them."""

# Most of the libraries are not where types are checked.
# mypy: ignore-errors

from typing import Any

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

from .samples import BOTH, COUNTS, HOLES, LETTERS, MIXED, RANDOM, TEXTS, Make, R, X, Y


def classifiers() -> dict[str, Any]:
    """Classifiers, to be fitted with X and Y."""
    return plain_classifiers() | classifiers_of_others()


def plain_classifiers() -> dict[str, Any]:
    """Those of one class of scikit-learn, and ensembles."""
    lr = linear_model.LogisticRegression
    return {
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
        "forest_with_random": ensemble.RandomForestClassifier(3, random_state=RANDOM),
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
    }


def classifiers_of_others() -> dict[str, Any]:
    """Those that are made of another: searches, pipelines and the like."""
    lr = linear_model.LogisticRegression
    return {
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


def regressors() -> dict[str, Any]:
    """Regressors, to be fitted with X and R."""
    return {
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


def others() -> dict[str, Any]:
    """What is fitted with other rows: each with these."""
    return without_labels() | of_other_rows() | of_texts_and_columns()


def without_labels() -> dict[str, Any]:
    """What learns of rows alone."""
    return {
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
    }


def of_other_rows() -> dict[str, Any]:
    """What takes letters, counts, gaps, or several answers."""
    lr = linear_model.LogisticRegression
    return {
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
    }


def of_texts_and_columns() -> dict[str, Any]:
    """Pipelines of texts and of mixed columns, and what takes sparse rows."""
    lr = linear_model.LogisticRegression
    columns = [("numbers", preprocessing.StandardScaler(), [0, 1, 2, 3]), ("words", preprocessing.OneHotEncoder(), [4])]
    return {
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


def sklearn_models() -> dict[str, Make]:
    """Return the kinds of scikit-learn, fitted by the call; each is small."""
    labelled = classifiers()
    fits = {
        **{name: (model, X, Y) for name, model in labelled.items()},
        **{name: (model, X, R) for name, model in regressors().items()},
        **others(),
    }
    for name in ("chain", "multi"):
        fits[name] = (labelled[name], X, np.column_stack([Y, COUNTS[:, 0] > 1]))
    return {name: (lambda fit=fit: fit[0].fit(*fit[1:])) for name, fit in fits.items()}
