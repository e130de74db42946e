"""The user's model → one callable from input tensors to whatever the model returns."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .batch import Arrays
from .config import ModelConfig, TensorConfig
from .errors import LoadError

Predictor = Callable[[Arrays], Any]
# The extra that brings a library, where one does.
_EXTRAS = {"sklearn": "sklearn", "joblib": "sklearn", "numba": "numba", "torch": "torch"}


def load_predictor(version_folder: Path, config: ModelConfig) -> Predictor:
    """Load the model of a version folder as the config says. Raises LoadError if the file or a library is missing."""
    parameters = config.parameters
    roots = [str(version_folder / root) for root in json.loads(parameters["import_roots"])]
    # In front, so that a user's `model.py` wins over the one of this version folder.
    sys.path[:0] = roots
    kind = parameters["kind"]
    try:
        if kind == "python":
            return _load_class(parameters, config.inputs)
        path = version_folder / parameters["model_file"]
        if kind == "torch":
            return _load_torchscript(path, config.inputs)
        return _load_joblib(path, parameters["method"], config)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if not missing or missing in sys.modules:
            raise
        package = f"'schwift[{_EXTRAS[missing]}]'" if missing in _EXTRAS else missing
        raise LoadError(f"the model needs {missing}, which is not installed: pip install {package}") from error


def choose_method(model: Any, wanted: str, outputs: Sequence[TensorConfig]) -> str:
    """Choose the method to call: what the config names; else by the output's dtype and width.

    Several floats a row are probabilities where the model has them; everything else is `predict`, or
    `transform` for a model that only transforms.
    """
    if wanted != "auto":
        if not callable(getattr(model, wanted, None)):
            raise LoadError(f"a {type(model).__name__} has no method {wanted}: change model_args.method")
        return wanted
    wide = len(outputs) == 1 and outputs[0].dtype.startswith("float") and outputs[0].dims != (1,)
    for method in ("predict_proba", "predict", "transform") if wide else ("predict", "transform"):
        # hasattr, since sklearn hides methods that a fitted model does not have (SVC without probability).
        if callable(getattr(model, method, None)):
            return method
    raise LoadError(f"a {type(model).__name__} has no method predict: save an object that has one")


def read_joblib(path: Path) -> Any:
    """Load the object in a joblib file, the arrays of an uncompressed one mapped from the disk.

    So they are in memory once for all instances, and only where they are used. A model that writes into them gets its
    own copy of that page, and the file stays as it is.
    """
    import joblib

    with warnings.catch_warnings():
        # joblib before 1.2 wrote arrays where libraries may stumble over them; compressed files cannot be mapped.
        warnings.filterwarnings("error", message=".* is not byte aligned", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*mmap_mode", category=UserWarning)
        try:
            return joblib.load(path, mmap_mode="c")
        except (UserWarning, ValueError):
            # Or they are of another byte order, which only reading can turn.
            return joblib.load(path)


def _load_joblib(path: Path, wanted: str, config: ModelConfig) -> Predictor:
    model = read_joblib(path)
    _check_width(model, config.inputs)
    method = getattr(model, choose_method(model, wanted, config.outputs))
    return _on_inputs(method, config.inputs)


def _check_width(model: Any, inputs: Sequence[TensorConfig]) -> None:
    """Where it can be known before the first request: fitted scikit-learn models say how many features they take."""
    wanted = getattr(model, "n_features_in_", None)
    if not isinstance(wanted, int) or len(inputs) != 1 or len(inputs[0].dims) != 1:
        return
    if inputs[0].dims[0] not in (-1, wanted):
        raise LoadError(
            f"the model takes {wanted} features a row, and the input's shape says {inputs[0].dims[0]}: "
            f"write shape: [-1, {wanted}]"
        )


def _load_class(parameters: Mapping[str, str], inputs: Sequence[TensorConfig]) -> Predictor:
    module_name, _, class_name = parameters["class"].partition(":")
    module = importlib.import_module(module_name)
    model = getattr(module, class_name)(**json.loads(parameters["kwargs"]))
    if not callable(getattr(model, "predict", None)):
        raise LoadError(f"{class_name} has no method predict(X)")
    return _on_inputs(model.predict, inputs)


def _load_torchscript(path: Path, inputs: Sequence[TensorConfig]) -> Predictor:
    import torch

    module = torch.jit.load(str(path), map_location="cpu").eval()

    def predict(arrays: Arrays) -> Any:
        with torch.inference_mode():
            # A copy: Triton's buffers are read-only, and torch wants to write.
            return module(*(torch.from_numpy(arrays[item.name].copy()) for item in inputs))

    return predict


def _on_inputs(method: Callable[..., Any], inputs: Sequence[TensorConfig]) -> Predictor:
    """`predict(X)` gets the array; with several inputs, a mapping by name."""
    if len(inputs) == 1:
        name = inputs[0].name
        return lambda arrays: method(arrays[name])
    return lambda arrays: method(dict(arrays))
