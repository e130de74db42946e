"""The trees of scikit-learn's forests and boosted models, with what is made of their sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import CannotTell
from .double_trees import Ensemble, Tree, round_as_float32

# Of sklearn.tree and sklearn.ensemble.
NAMES = (
    "DecisionTree{}", "ExtraTree{}", "ExtraTrees{}", "RandomForest{}", "GradientBoosting{}", "HistGradientBoosting{}",
)  # fmt: skip


def list_sklearn(model: Any) -> Ensemble:
    """List the trees of scikit-learn's own models. Raises CannotTell for what is not known here."""
    name = type(model).__name__
    if name.startswith("HistGradientBoosting"):
        return _list_histogram(model)
    if name.startswith("GradientBoosting"):
        return _list_gradient(model)
    if getattr(model, "n_outputs_", 1) != 1:
        raise CannotTell(f"a {name} of several outputs has no float64 graph here")
    single = name.startswith(("DecisionTree", "ExtraTree")) and not name.startswith("ExtraTrees")
    estimators = [model] if single else model.estimators_
    width = len(model.classes_) if hasattr(model, "classes_") else 1
    # Of two classes the second is enough.
    targets = range(width) if width != 2 else [0]
    trees = [(_read_tree(item.tree_), targets) for item in estimators]
    for tree, _ in trees:
        if hasattr(model, "classes_"):
            tree.value = tree.value / tree.value.sum(axis=1, keepdims=True)
            tree.value = tree.value[:, 1:] if width == 2 else tree.value
    return Ensemble(trees, np.zeros(len(targets)), float(len(estimators)))


def _read_tree(tree: Any) -> Tree:
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
    return Tree(
        tree.feature.astype(np.int64), round_as_float32(tree.threshold), tree.children_left.astype(np.int64),
        tree.children_right.astype(np.int64), np.asarray(missing, bool), tree.value[:, 0, :].astype(np.float64),
    )  # fmt: skip


def _list_gradient(model: Any) -> Ensemble:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if model.init is not None and not isinstance(model.init_, DummyClassifier | DummyRegressor | str):
        raise CannotTell(f"a GradientBoosting model that begins with a {type(model.init_).__name__} has no graph here")
    base = np.asarray(model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)), np.float64)[0]
    trees = []
    for stage in model.estimators_:
        for target, item in enumerate(stage):
            tree = _read_tree(item.tree_)
            tree.value = tree.value * model.learning_rate
            trees.append((tree, [target]))
    if not hasattr(model, "classes_"):
        return Ensemble(trees, base)
    link = "softmax" if len(base) > 1 else "sigmoid"
    return Ensemble(trees, base, link=link if model.loss != "exponential" else "sigmoid of the double")


def _list_histogram(model: Any) -> Ensemble:
    trees = []
    for stage in model._predictors:
        for target, predictor in enumerate(stage):
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise CannotTell("a HistGradientBoosting model with categorical splits has no float64 graph here")
            leaf = nodes["is_leaf"].astype(bool)
            tree = Tree(
                nodes["feature_idx"].astype(np.int64), nodes["num_threshold"].astype(np.float64),
                np.where(leaf, -1, nodes["left"].astype(np.int64)), np.where(leaf, -1, nodes["right"].astype(np.int64)),
                nodes["missing_go_to_left"].astype(bool), nodes["value"].astype(np.float64).reshape(-1, 1),
            )  # fmt: skip
            trees.append((tree, [target]))
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    if hasattr(model, "classes_"):
        return Ensemble(trees, base, link="softmax" if len(base) > 1 else "sigmoid")
    return Ensemble(trees, base, link="exp" if model.loss in ("poisson", "gamma") else "identity")


def list_isolation(model: Any) -> Ensemble:
    """List the trees of an IsolationForest: how deep a row is, in parts of what is usual. Raises CannotTell."""
    from sklearn.ensemble._iforest import _average_path_length

    if model.max_samples_ < 2:
        raise CannotTell("an IsolationForest of one sample a tree has no graph here")
    trees = []
    for number, (estimator, features) in enumerate(zip(model.estimators_, model.estimators_features_, strict=True)):
        tree = _read_tree(estimator.tree_)
        tree.feature = np.where(tree.feature >= 0, np.asarray(features)[tree.feature], -2)
        depth = model._decision_path_lengths[number] + model._average_path_length_per_tree[number] - 1.0
        tree.value = np.asarray(depth, np.float64).reshape(-1, 1)
        trees.append((tree, [0]))
    usual = float(_average_path_length([model._max_samples])[0])
    return Ensemble(trees, np.zeros(1), len(trees) * usual)
