"""A LightGBM, XGBoost or CatBoost model → the library's own file, and what the class beside it is to do with it."""

from __future__ import annotations

import os
from typing import Any

from .. import CannotTell, answer_rows, describing
from ..opening import open_model


def export(request: dict[str, Any]) -> dict[str, Any]:
    """Write the file into the folder `target`; return its name, the library, and the arguments of its class."""
    opened = open_model(request)
    model = opened.model
    method = answer_rows.choose_asked_method(opened, request)
    library = next((kind.__module__.split(".")[0] for kind in type(model).__mro__ if _is_known(kind)), None)
    if library is None:
        raise CannotTell(
            f"a {type(model).__name__} is no model of LightGBM, XGBoost or CatBoost, which have files of their own: "
            "write --to onnx"
        )
    booster, name = _find_booster(model, library)
    kwargs: dict[str, Any] = {"file": name}
    # CatBoost's regressors have none, in a list.
    classes = describing.find_classes(model) or None
    if classes is not None and method in ("predict", "predict_proba"):
        kwargs |= {"classes": classes, "labels": method == "predict"}
    elif method != "predict" or (booster is not model and getattr(model, "classes_", None) is not None):
        raise CannotTell(f"{method} of a {type(model).__name__} is not what its own file gives")
    booster.save_model(os.path.join(request["target"], name))
    versions = describing.describe(model)["versions"]
    return {"file": name, "library": library, "kwargs": kwargs, "type": type(model).__name__, "versions": versions}


def _is_known(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("lightgbm", "xgboost", "catboost")


def _find_booster(model: Any, library: str) -> tuple[Any, str]:
    """Return what can write its file, to the best iteration where the fit stopped early, and the file's name."""
    if library == "catboost":
        return model, "model.cbm"
    if library == "lightgbm":
        return getattr(model, "booster_", model), "model.txt"
    booster = model.get_booster() if callable(getattr(model, "get_booster", None)) else model
    stopped = "best_iteration" in booster.attributes()
    return (booster[: int(booster.best_iteration) + 1] if stopped else booster), "model.ubj"
