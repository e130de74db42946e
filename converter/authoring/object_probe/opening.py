"""A model's file or class → an object, and the way to call it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import CannotTell

_LIBRARIES = "schwift_libraries"


@dataclass
class Opened:
    """`kind` is that of the request; `call` takes the name of a method and its input."""

    kind: str
    model: Any
    call: Callable[[str, Any], Any]


def open_model(request: dict[str, Any]) -> Opened:
    """Open what a request names: pickle, python, torchscript or onnx."""
    kind = request["kind"]
    sys.path[:0] = request.get("roots", [])
    if kind == "pickle":
        model = _read_pickle(request["path"])
    elif kind == "python":
        model = _import_class(request["class"], request.get("kwargs", {}))
    elif kind == "torchscript":
        return _open_torchscript(request["path"])
    else:
        return _open_graph(request["path"])
    return Opened(kind, model, functools.partial(_call, model))


@contextlib.contextmanager
def import_as_served(request: dict[str, Any]) -> Iterator[None]:
    """Within the block, import no more than where a pickle is served, which takes half the time.

    `libraries` of the request is the runtime's folder that has the ways to do so, and `imports` what the model needs.
    Without them nothing changes.
    """
    folder = request.get("libraries")
    if folder is None:
        yield
        return
    start = importlib.util.spec_from_file_location(
        _LIBRARIES, f"{folder}/__init__.py", submodule_search_locations=[folder]
    )
    assert start is not None
    # It has nothing to run, but modules.
    sys.modules.setdefault(_LIBRARIES, importlib.util.module_from_spec(start))
    deferred_stats = importlib.import_module(f"{_LIBRARIES}.deferred_stats")
    hidden_pandas = importlib.import_module(f"{_LIBRARIES}.hidden_pandas")
    with deferred_stats.defer_stats():
        hidden_pandas.import_ahead(request["imports"], request["form"]["form"] == "columns")
        yield


def _call(model: Any, method: str, rows: Any) -> Any:
    # As the runtime has it: one array is not in a mapping.
    return getattr(model, method)(next(iter(rows.values())) if isinstance(rows, dict) and len(rows) == 1 else rows)


def _read_pickle(path: str) -> Any:
    try:
        import joblib
    except ImportError:
        with open(path, "rb") as file:
            return pickle.load(file)
    return joblib.load(path)


class _Function:
    """A function, which is a model by its `predict`."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.predict = function


def _import_class(named: str, kwargs: dict[str, Any]) -> Any:
    module, _, name = named.partition(":")
    made = getattr(importlib.import_module(module), name)
    if callable(made) and not isinstance(made, type):
        return _Function(functools.partial(made, **kwargs))
    try:
        # A class in C may have no signature.
        with contextlib.suppress(ValueError):
            inspect.signature(made).bind(**kwargs)
    except TypeError as error:
        raise CannotTell(
            f"{name}: {error}: give its arguments, as in --kwargs '{{\"name\": 1}}'", "--kwargs"
        ) from error
    return made(**kwargs)


def _open_torchscript(path: str) -> Opened:
    import torch

    module = torch.jit.load(path, map_location="cpu").eval()
    torch.set_num_threads(1)
    named = {item.name for item in module.forward.schema.arguments}

    def call(method: str, tensors: dict[str, Any]) -> Any:
        with torch.inference_mode():
            arguments = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
            # As the runtime has it: several by the names of forward's arguments, if it has names.
            by_name = len(arguments) > 1 and set(arguments) <= named
            return module(**arguments) if by_name else module(*arguments.values())

    return Opened("torchscript", module, call)


def _open_graph(path: str) -> Opened:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]

    def call(method: str, tensors: dict[str, Any]) -> Any:
        return dict(zip(names, session.run(None, tensors), strict=True))

    return Opened("onnx", session, call)
