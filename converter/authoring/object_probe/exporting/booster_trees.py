"""The trees of LightGBM's and XGBoost's estimators, from what their boosters say of themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import CannotTell
from .double_trees import Ensemble, Tree, round_as_float32

_LIGHTGBM_LINKS = {"binary": "sigmoid", "multiclass": "softmax", "poisson": "exp", "gamma": "exp", "tweedie": "exp"}
_LIGHTGBM_PLAIN = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
_XGBOOST_LINKS = {
    "binary:logistic": "sigmoid", "reg:logistic": "sigmoid", "multi:softprob": "softmax", "multi:softmax": "softmax",
    "reg:squarederror": "identity", "reg:absoluteerror": "identity", "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity", "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
}  # fmt: skip
_ZERO = float(np.float32(1e-35))
_NATIVE = "write --to native"


def list_lightgbm(model: Any) -> Ensemble:
    """List the trees of a LightGBM estimator, which compares float64. Raises CannotTell for what has no graph."""
    dumped = model.booster_.dump_model()
    kind, *words = dumped.get("objective", "").split()
    plain = kind in _LIGHTGBM_PLAIN and "sqrt" not in words
    if dumped.get("average_output") or not (plain or kind in _LIGHTGBM_LINKS):
        raise CannotTell(f"LightGBM's objective {kind or 'of your own'!r} has no graph here: {_NATIVE}")
    scale = next((float(word.partition(":")[2]) for word in words if word.startswith("sigmoid:")), 1.0)
    if scale != 1.0:
        raise CannotTell(f"LightGBM's sigmoid: {scale} has no graph here: {_NATIVE}")
    count = dumped["num_tree_per_iteration"]
    trees = [(_read_lightgbm(item["tree_structure"]), [i % count]) for i, item in enumerate(dumped["tree_info"])]
    return Ensemble(trees, np.zeros(count), link=_LIGHTGBM_LINKS.get(kind, "identity"))


def _read_lightgbm(root: dict[str, Any]) -> Tree:
    rows: list[tuple[Any, ...]] = []

    def add(node: dict[str, Any]) -> int:
        place = len(rows)
        if "leaf_value" in node:
            rows.append((-2, 0.0, -1, -1, False, node["leaf_value"]))
            return place
        if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
            raise CannotTell(
                f"LightGBM's categorical splits, and zeros that are missing, have no graph here: {_NATIVE}"
            )
        threshold = float(node["threshold"])
        # NaN counts as 0 where the fit saw none.
        missing_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0
        rows.append(())
        left, right = add(node["left_child"]), add(node["right_child"])
        rows[place] = (node["split_feature"], _pass_zeros(threshold), left, right, missing_left, 0.0)
        return place

    add(root)
    return _make_tree(rows)


def _pass_zeros(threshold: float) -> float:
    """Return what decides as LightGBM does, which takes numbers as small as `_ZERO` for 0."""
    if -_ZERO <= threshold < 0:
        return float(np.nextafter(-_ZERO, -np.inf))
    return _ZERO if 0 <= threshold < _ZERO else threshold


def list_xgboost(model: Any) -> Ensemble:
    """List the trees of an XGBoost estimator, which compares float32. Raises CannotTell for what has no graph."""
    booster = model.get_booster()
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    if objective not in _XGBOOST_LINKS or learner["gradient_booster"]["name"] != "gbtree":
        raise CannotTell(f"XGBoost's {learner['gradient_booster']['name']} of {objective} has no graph here: {_NATIVE}")
    count = max(1, int(learner["learner_model_param"]["num_class"]))
    base = np.array(json.loads(f"[{learner['learner_model_param']['base_score'].strip('[]')}]"), np.float64)
    link = _XGBOOST_LINKS[objective]
    if link == "sigmoid":
        base = np.log(base / (1 - base))
    elif link == "exp":
        base = np.log(base)
    names = {name: i for i, name in enumerate(booster.feature_names or ())}
    dumped = _list_used(model, booster, count)
    trees = [(_read_xgboost(json.loads(text), names), [i % count]) for i, text in enumerate(dumped)]
    return Ensemble(trees, np.broadcast_to(base, (count,)).astype(np.float64), link=link)


def _list_used(model: Any, booster: Any, count: int) -> list[str]:
    """List the trees to the best iteration, where the estimator stopped early: it asks no others."""
    dumped: list[str] = booster.get_dump(dump_format="json")
    best = getattr(model, "best_iteration", None) if getattr(model, "early_stopping_rounds", None) else None
    parallel = int(getattr(model, "num_parallel_tree", None) or 1)
    if parallel > 1:
        raise CannotTell(f"XGBoost's forests have no graph here: {_NATIVE}")
    return dumped if best is None else dumped[: (best + 1) * count]


def _read_xgboost(root: dict[str, Any], names: dict[str, int]) -> Tree:
    nodes = dict(_walk_xgboost(root))
    places = {number: place for place, number in enumerate(nodes)}
    rows: list[tuple[Any, ...]] = []
    for node in nodes.values():
        if "leaf" in node:
            rows.append((-2, 0.0, -1, -1, False, node["leaf"]))
            continue
        condition = node.get("split_condition")
        if not isinstance(condition, int | float):
            raise CannotTell(f"XGBoost's splits by category have no graph here: {_NATIVE}")
        name = node["split"]
        feature = names[name] if name in names else int(name.removeprefix("f"))
        # x < t is x <= the number below t.
        below = float(np.nextafter(np.float32(condition), np.float32(-np.inf)))
        missing_left = node["missing"] == node["yes"]
        rows.append((feature, below, places[node["yes"]], places[node["no"]], missing_left, 0.0))
    tree = _make_tree(rows)
    tree.threshold = round_as_float32(tree.threshold)
    return tree


def _walk_xgboost(node: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    yield node["nodeid"], node
    for child in node.get("children", ()):
        yield from _walk_xgboost(child)


def _make_tree(rows: list[tuple[Any, ...]]) -> Tree:
    feature, threshold, left, right, missing_left, value = zip(*rows, strict=True)
    return Tree(
        np.array(feature, np.int64), np.array(threshold, np.float64), np.array(left, np.int64),
        np.array(right, np.int64), np.array(missing_left, np.bool_), np.array(value, np.float64).reshape(-1, 1),
    )  # fmt: skip
