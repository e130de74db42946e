"""The user's model → one callable from input tensors to whatever the model returns."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import os
import pickle
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from .batch import Arrays
from .checked_file import CheckedFile
from .config import ModelConfig, TensorConfig
from .errors import LoadError
from .inputs.data_frame import join_columns
from .inputs.torch_arguments import takes_by_name
from .libraries.deferred_stats import defer_stats
from .libraries.hidden_pandas import import_ahead

Predictor = Callable[[Arrays], Any]

ENVIRONMENT_FILE = "environment"
# What the launcher of the process says that it runs in.
ENVIRONMENT_VARIABLE = "SCHWIFT_ENVIRONMENT"
MISSING_ENVIRONMENT = "missing"
OWN_ENVIRONMENT = "schwift"

# How files begin that joblib compressed: zlib, gzip, bzip2, xz, lzma and lz4.
_COMPRESSED = (b"x", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"]\x00", b"\x04\x22\x4d\x18")


def check_environment(version_folder: Path) -> None:
    """Raise LoadError if this process does not run in the environment of the model.

    If that is one of the model's own, its key stands in the first line of the file `environment`.
    """
    file = version_folder / ENVIRONMENT_FILE
    here = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if file.exists():
        key = file.read_text(encoding="utf-8").partition("\n")[0]
        if key not in (here, OWN_ENVIRONMENT):
            raise LoadError(
                "the model needs an environment of its own, which is not here: `schwift env build` makes it, but not "
                "for NVIDIA's image, which runs its own Python only"
            )
    elif here == MISSING_ENVIRONMENT:
        raise LoadError("the environment for models is not here, or does not start: `schwift doctor` looks at it")


def check_releases(made_for: Mapping[str, str]) -> None:
    """Raise LoadError if a package is here in another release than a pickle was made for: `1.7` is any 1.7."""
    for name, release in made_for.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            there = find_version(name)
            if there.split(".")[: release.count(".") + 1] != release.split("."):
                raise LoadError(
                    f"the model was made for {name} {release}, and is served with {there}: "
                    "build it again where it is served, or write `accept_skew: true`"
                )


@functools.cache
def find_version(name: str) -> str:
    """Return a package's version, for which all folders of packages are looked through: once in a process of many."""
    return metadata.version(name)


def load_predictor(version_folder: Path, config: ModelConfig, threads: int = 1) -> Predictor:
    """Load the model of a version folder as the config says; `threads` are an ONNX graph's.

    Raises LoadError if the file, a library or the model's environment is missing.
    """
    check_environment(version_folder)
    parameters = config.parameters
    roots = [str(version_folder / root) for root in json.loads(parameters["import_roots"])]
    # In front, so that a user's `model.py` wins over the one of this version folder.
    sys.path[:0] = roots
    kind = parameters["kind"]
    try:
        if kind == "python":
            return _load_class(config)
        path = version_folder / parameters["model_file"]
        if kind == "torch":
            return _load_torchscript(path, config.inputs)
        if kind == "onnx":
            return _load_onnx(path, config, threads)
        check_releases(json.loads(parameters.get("made_for", "{}")))
        return _load_joblib(path, config)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if not missing or missing in sys.modules:
            raise
        package = {"sklearn": "scikit-learn"}.get(missing, missing)
        own = (version_folder / ENVIRONMENT_FILE).exists()
        remedy = f"add {package} to its requirements" if own else f"pip install {package}"
        raise LoadError(
            f"the model needs {missing}, which is not installed in the model's environment: {remedy}"
        ) from error


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


def read_joblib(file: CheckedFile) -> Any:
    """Load the object in a joblib file, the arrays of an uncompressed one mapped from the disk.

    So they are in memory once for all instances, and only where they are used. A model that writes into them gets its
    own copy of that page, and the file stays as it is. A plain pickle loads without joblib too.
    """
    try:
        import joblib
    except ImportError:
        with open(file.path, "rb") as plain:
            if plain.peek(8).startswith(_COMPRESSED):
                raise
            # Python's own unpickler, as joblib's is and the build's, which read the file before: in odd places the one
            # in C takes the same bytes for another program.
            return pickle._Unpickler(plain).load()
    with warnings.catch_warnings():
        # joblib before 1.2 wrote arrays where libraries may stumble over them; compressed files cannot be mapped.
        warnings.filterwarnings("error", message=".* is not byte aligned", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*mmap_mode", category=UserWarning)
        try:
            return joblib.load(file.path, mmap_mode="c")
        except (UserWarning, ValueError):
            # Or they are of another byte order, which only reading can turn.
            file.verify()
            return joblib.load(file.path)


def _load_joblib(path: Path, config: ModelConfig) -> Predictor:
    """Load a pickle, if its bytes are those that the build looked through."""
    # A repository that an older release built has no sum.
    file = CheckedFile(path, config.parameters.get("model_sha256"))
    try:
        with ThreadPoolExecutor(1) as pool, defer_stats():
            # Hashing lets go of the interpreter's lock, so that it takes no time of its own.
            verified = pool.submit(file.verify)
            import_ahead(_list_imports(config.parameters), "columns" in config.parameters)
            verified.result()
            file.verify()
            model = read_joblib(file)
        file.verify()
        if "columns" not in config.parameters:
            _check_width(model, config.inputs)
        method = getattr(model, choose_method(model, config.parameters["method"], config.outputs))
        predict = _on_inputs(model, method, config)
    except BaseException:
        file.close()
        raise
    weakref.finalize(predict, file.close)
    return predict


def _list_imports(parameters: Mapping[str, str]) -> list[str]:
    """List the libraries that a pickle needs for certain."""
    needed = parameters["kind"] == "sklearn" or "scikit-learn" in parameters.get("made_for", "")
    return ["joblib", "sklearn"] if needed else ["joblib"]


def _check_width(model: Any, inputs: Sequence[TensorConfig]) -> None:
    """Where it can be known before the first request: fitted scikit-learn models say how many features they take."""
    wanted = getattr(model, "n_features_in_", None)
    # CatBoost says 0.
    if not isinstance(wanted, int) or wanted < 1 or len(inputs) != 1 or len(inputs[0].dims) != 1:
        return
    if inputs[0].dims[0] not in (-1, wanted):
        raise LoadError(
            f"the model takes {wanted} features a row, and the input's shape says {inputs[0].dims[0]}: "
            f"write shape: [-1, {wanted}]"
        )


def _load_class(config: ModelConfig) -> Predictor:
    """Build a class once, with the kwargs; a function is called with them each time, in the place of `predict`."""
    parameters = config.parameters
    module_name, _, name = parameters["class"].partition(":")
    made = getattr(importlib.import_module(module_name), name)
    kwargs = json.loads(parameters["kwargs"])
    is_function = callable(made) and not isinstance(made, type)
    _check_kwargs(name, made, ["X"] if is_function else [], kwargs)
    if is_function:
        return _on_inputs(made, functools.partial(made, **kwargs), config)
    model = made(**kwargs)
    if not callable(getattr(model, "predict", None)):
        raise LoadError(f"{name} has no method predict(X)")
    return _on_inputs(model, model.predict, config)


def _check_kwargs(name: str, made: Any, arguments: list[str], kwargs: Mapping[str, Any]) -> None:
    """Raise LoadError if the config's kwargs are not those that a class or function takes."""
    try:
        signature = inspect.signature(made)
    except (TypeError, ValueError):
        # What is written in C may have none.
        return
    try:
        signature.bind(*arguments, **kwargs)
    except TypeError as error:
        raise LoadError(f"model_args.kwargs do not fit {name}({', '.join(signature.parameters)}): {error}") from None


def _load_torchscript(path: Path, inputs: Sequence[TensorConfig]) -> Predictor:
    import torch

    module = torch.jit.load(str(path), map_location="cpu").eval()
    by_name = takes_by_name(module, inputs)

    def predict(arrays: Arrays) -> Any:
        with torch.inference_mode():
            # A copy: Triton's buffers are read-only, and torch wants to write.
            tensors = {item.name: torch.from_numpy(arrays[item.name].copy()) for item in inputs}
            return module(**tensors) if by_name else module(*tensors.values())

    return predict


def _load_onnx(path: Path, config: ModelConfig, threads: int) -> Predictor:
    from .onnx_model import load_graph

    return load_graph(path, config, threads)


def _on_inputs(model: Any, method: Callable[..., Any], config: ModelConfig) -> Predictor:
    """`predict(X)` gets the array; with several inputs, a mapping by name; with columns what `join_columns` makes."""
    if "columns" in config.parameters:
        join = join_columns(model, config)
        return lambda arrays: method(join(arrays))
    if len(config.inputs) == 1:
        name = config.inputs[0].name
        return lambda arrays: method(arrays[name])
    return lambda arrays: method(dict(arrays))
