"""Values that a fitted object has seen, or splits at: what made-up rows are made of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .fitted_columns import find_categories

_MOST_VALUES = 200
_MOST_TREES = 60
_MOST_WORDS = 2000
# The values of a fit, or points of it: one row for each, as wide as the input.
_POINTS = (
    "_fit_X", "support_vectors_", "cluster_centers_", "X_train_", "theta_", "means_", "centroids_",
    "subcluster_centers_", "quantiles_", "data_min_", "data_max_",
)  # fmt: skip
# Those that are rows of the fit.
_ROWS = ("_fit_X", "support_vectors_", "X_train_", "data_min_", "data_max_")
# Steps that give each feature on as it is, but for what is missing.
_KEEPING = ("Imputer", "passthrough")


@dataclass
class Hint:
    """One feature: number, string, bool, text, or a category of whatever dtype; `origin` is the attribute that says it.

    With `fractions` the fit had numbers that are not whole.
    """

    kind: str = "number"
    values: list[Any] = field(default_factory=list)
    whole: bool = False
    origin: str = ""
    fractions: bool = False


def learn(model: Any, width: int | None, names: list[str] | None) -> list[Hint]:
    """Learn what each feature is like; one hint for a model that does not say how many it has."""
    hints = [Hint() for _ in range(width if width is not None else 1)]
    # What a library raises of an object that it does not know in full leaves less to learn.
    for learn_more in (_visit, _note_frame, _note_categorical):
        with contextlib.suppress(Exception):
            learn_more(model, hints, names)
    return hints


def learn_as_described(model: Any, facts: dict[str, Any]) -> list[Hint]:
    """Learn what each feature is like, of as many as were found or guessed; a model that reads texts has none."""
    if facts["width_guessed"] and any(hint.kind == "text" for hint in learn(model, None, None)):
        facts["width"] = None
    return learn(model, facts["width"], facts["names"])


def learn_rows(hints: list[Hint], rows: list[list[Any]]) -> None:
    """Learn from rows that came along with a model; those of another width say nothing."""
    for row in rows if rows and len(rows[0]) == len(hints) else ():
        for hint, value in zip(hints, row, strict=True):
            if isinstance(value, str) or hint.kind == "number":
                hint.values += [value] if value is not None else []


def _note_frame(model: Any, hints: list[Hint], names: Sequence[str] | None) -> None:
    """Note the columns that a formula of statsmodels was fitted with."""
    for hint, name in zip(hints, names or (), strict=False):
        column = model.model.data.frame[name]
        hint.kind = {"O": "string", "b": "bool"}.get(column.dtype.kind, "number")
        hint.whole = column.dtype.kind in "iu"
        hint.values, hint.origin = column.dropna().tolist()[:_MOST_VALUES], "the formula's data"


def _note_categorical(model: Any, hints: list[Hint], names: Sequence[str] | None) -> None:
    """Note which features LightGBM, XGBoost and CatBoost take as categories, and those of LightGBM."""
    found = find_categories(model, names or [])
    for hint, name in zip(hints, names or (), strict=False):
        if name in found:
            values = found[name]
            hint.values, hint.origin = values, "its categories"
            hint.kind = "category" if not values else "string" if isinstance(values[0], str) else "number"
            hint.whole = bool(values) and isinstance(values[0], int)
    if getattr(model, "_preprocessor", None) is not None:
        _note_encoded(model, hints, names)
    parts: tuple[Any, ...] = (model, getattr(model, "model", None))
    for part in parts:
        if callable(getattr(part, "get_cat_feature_indices", None)):
            for place in part.get_cat_feature_indices():
                hints[place].kind, hints[place].values, hints[place].origin = "category", [], "its categorical features"


def _note_encoded(model: Any, hints: list[Hint], names: Sequence[str] | None) -> None:
    """Note what HistGradientBoosting took as categories; its own splits are of features in another order."""
    chosen = np.asarray(model.is_categorical_)
    order = [*np.flatnonzero(chosen), *np.flatnonzero(~chosen)]
    for place, thresholds in zip(order, model._bin_mapper.bin_thresholds_, strict=True):
        hints[place].values = [] if chosen[place] else [float(value) for value in thresholds]
    _visit(model._preprocessor, hints, names)


def _visit(part: Any, hints: list[Hint], names: Sequence[str] | None) -> None:
    """Add what a part says of the features that it gets, which are these."""
    if part is None or isinstance(part, str):
        return
    steps = getattr(part, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[0], tuple):
        for _, step in steps:
            _visit(step, hints, names)
            if step is not None and not any(word in type(step).__name__ for word in _KEEPING):
                return
    elif getattr(part, "transformers_", None) is not None:
        for _, inner, columns in part.transformers_:
            chosen = _resolve(columns, len(hints), names)
            _visit(inner, [hints[i] for i in chosen], [names[i] for i in chosen] if names else None)
    elif getattr(part, "transformer_list", None) is not None:
        for _, inner in part.transformer_list:
            _visit(inner, hints, names)
    elif callable(getattr(part, "build_analyzer", None)):
        _note_text(part, hints)
    elif (wrapped := _find_wrapped(part)) is not None:
        _visit(wrapped, hints, names)
    else:
        _note_categories(part, hints)
        _note_numbers(part, hints)


def _find_wrapped(part: Any) -> Any:
    """Find the pipeline in a search, a calibration or another estimator that asks it with its own input."""
    for inner in _list_inner(part):
        inner = getattr(inner, "estimator", None) if type(inner).__name__ == "_CalibratedClassifier" else inner
        if isinstance(getattr(inner, "steps", None), list) or callable(getattr(inner, "build_analyzer", None)):
            return inner
    return None


def _resolve(columns: Any, width: int, names: Sequence[str] | None) -> list[int]:
    """Return the places that a ColumnTransformer's choice of columns means."""
    if isinstance(columns, slice) and all(isinstance(i, int | None) for i in (columns.start, columns.stop)):
        return list(range(width))[columns]
    found: list[Any] = [columns] if isinstance(columns, str | int) else np.asarray(columns).tolist()
    if found and isinstance(found[0], bool):
        return [i for i, chosen in enumerate(found) if chosen]
    if found and isinstance(found[0], str):
        return [list(names).index(name) for name in found] if names else []
    return [i % width for i in found]


def _note_text(part: Any, hints: list[Hint]) -> None:
    words = sorted(getattr(part, "vocabulary_", None) or {})[:_MOST_WORDS]
    for hint in hints:
        hint.kind, hint.values, hint.origin = "text", words, f"{type(part).__name__} reads it"


def _note_categories(part: Any, hints: list[Hint]) -> None:
    """Note what encoders and imputers have seen."""
    for name in ("categories_", "statistics_"):
        groups = getattr(part, name, None)
        if groups is None or len(groups) != len(hints):
            continue
        for hint, group in zip(hints, groups, strict=True):
            array: Any = np.atleast_1d(np.asarray(group))
            values = [value for value in array.tolist() if value is not None and value == value]
            if not values:
                continue
            hint.origin = hint.origin or f"{name} of {type(part).__name__}"
            if isinstance(values[0], str):
                hint.kind = "string"
            elif isinstance(values[0], bool):
                hint.kind = "bool"
            elif name == "categories_":
                hint.whole = array.dtype.kind in "iu"
            hint.values += values[:_MOST_VALUES]


def _note_numbers(part: Any, hints: list[Hint], depth: int = 0) -> None:
    """Note where a part was fitted, or splits."""
    if depth > 6 or part is None or isinstance(part, str):
        return
    for name in _POINTS:
        points: Any = getattr(part, name, None)
        if getattr(points, "ndim", 0) in (1, 2) and getattr(points, "dtype", np.dtype(object)).kind in "biuf":
            _note_rows(np.atleast_2d(points), hints)
            if name in _ROWS and points.shape[-1] == len(hints):
                for hint, column in zip(hints, np.atleast_2d(points).T, strict=True):
                    hint.fractions |= bool((column % 1 != 0).any())
    center: Any = getattr(part, "mean_", getattr(part, "center_", None))
    if getattr(center, "ndim", 0) == 1 and len(center) == len(hints):
        scale: Any = getattr(part, "scale_", None)
        scale = np.ones(len(hints)) if getattr(scale, "ndim", 0) != 1 or len(scale) != len(hints) else scale
        _note_rows(np.stack([center + steps * scale for steps in (-2, -1, 0, 1, 2)]), hints)
    exog = getattr(getattr(part, "model", None), "exog", None)
    if getattr(exog, "ndim", 0) == 2:
        _note_rows(np.asarray(exog), hints)
    for feature, values in _list_splits(part):
        if 0 <= feature < len(hints) and hints[feature].kind == "number":
            hints[feature].values += [float(value) for value in values if np.isfinite(value)]
            # Between whole numbers trees split at halves, and bounds are divided by eight.
            hints[feature].fractions |= any(not float(value * 16).is_integer() for value in values)
    for inner in _list_inner(part):
        _note_numbers(inner, hints, depth + 1)


def _note_rows(points: Any, hints: list[Hint]) -> None:
    if points.shape[1] != len(hints):
        return
    for hint, column in zip(hints, points[:_MOST_VALUES].T, strict=True):
        if hint.kind == "number":
            hint.values += [float(value) for value in column if np.isfinite(value)]


def _list_inner(part: Any) -> Iterator[Any]:
    """List the estimators that an estimator asks with its own input."""
    steps = getattr(part, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[0], tuple):
        yield steps[0][1]
    for name in ("best_estimator_", "estimator_", "regressor_", "estimator", "calibrated_classifiers_", "estimators_"):
        found: Any = getattr(part, name, None)
        if hasattr(found, "ravel"):
            found = found.ravel().tolist()
        yield from (found[:_MOST_TREES] if isinstance(found, list) else [found])


def _list_splits(part: Any) -> Iterator[tuple[int, Sequence[float]]]:
    """List thresholds by feature, of trees of scikit-learn, LightGBM, XGBoost and CatBoost."""
    tree = getattr(part, "tree_", None)
    if tree is not None and hasattr(tree, "threshold"):
        for feature, threshold in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
            yield feature, [threshold]
    bins = getattr(getattr(part, "_bin_mapper", None), "bin_thresholds_", None)
    yield from enumerate(bins or ())
    # A wrapper of ours has the library's own model in `model`.
    boosters: tuple[Any, ...] = (part, getattr(part, "model", None), getattr(part, "booster_", None), _xgboost_of(part))
    for booster in boosters:
        if callable(getattr(booster, "dump_model", None)) and callable(getattr(booster, "feature_name", None)):
            dumped = booster.dump_model()
            infos = dumped["feature_infos"]
            for i, name in enumerate(booster.feature_name()):
                if name in infos:
                    low, high = infos[name]["min_value"], infos[name]["max_value"]
                    yield i, infos[name].get("values") or [low + step * (high - low) / 8 for step in range(9)]
            for tree in dumped["tree_info"][:_MOST_TREES]:
                yield from _list_lightgbm_splits(tree["tree_structure"])
        elif callable(getattr(booster, "get_dump", None)):
            names = booster.feature_names or [f"f{i}" for i in range(booster.num_features())]
            for text in booster.get_dump(dump_format="json")[:_MOST_TREES]:
                yield from _list_xgboost_splits(json.loads(text), {name: i for i, name in enumerate(names)})
        elif callable(getattr(booster, "get_borders", None)):
            yield from ((int(i), borders) for i, borders in booster.get_borders().items())


def _xgboost_of(part: Any) -> Any:
    return part.get_booster() if callable(getattr(part, "get_booster", None)) else None


def _list_lightgbm_splits(node: dict[str, Any]) -> Iterator[tuple[int, Sequence[float]]]:
    if isinstance(node.get("threshold"), float):
        yield node["split_feature"], [node["threshold"]]
    for side in ("left_child", "right_child"):
        if side in node:
            yield from _list_lightgbm_splits(node[side])


def _list_xgboost_splits(node: dict[str, Any], places: dict[str, int]) -> Iterator[tuple[int, Sequence[float]]]:
    if isinstance(node.get("split_condition"), int | float):
        name = str(node["split"])
        place = places.get(name, int(name.removeprefix("f")) if name.removeprefix("f").isdigit() else -1)
        yield place, [node["split_condition"]]
    for child in node.get("children", ()):
        yield from _list_xgboost_splits(child, places)
