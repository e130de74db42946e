"""An ONNX graph that `schwift convert` made of a model with named columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_NAMES = {"float": "float32", "double": "float64", "string": "object"}


class OnnxFile:
    """Takes what the model took, an array or a DataFrame of the config's columns, and answers the same."""

    def __init__(self, file: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = str(Path(__file__).with_name(file))
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._inputs = [(item.name, _read_dtype(item.type)) for item in self._session.get_inputs()]
        # One input has all columns; of several each has one.
        self._whole = len(self._inputs) == 1 and self._session.get_inputs()[0].shape[1] != 1
        self.n_features_in_ = self._session.get_inputs()[0].shape[1] if self._whole else len(self._inputs)

    def predict(self, X: Any) -> Any:
        """Answer rows."""
        if self._whole:
            ((name, dtype),) = self._inputs
            return self._session.run(None, {name: np.asarray(X, dtype)})[0]
        columns = X.T if isinstance(X, np.ndarray) else [X.iloc[:, place] for place in range(X.shape[1])]
        given = zip(self._inputs, columns, strict=True)
        return self._session.run(None, {name: _make_tensor(column, dtype) for (name, dtype), column in given})[0]


def _make_tensor(column: Any, dtype: str) -> Any:
    """Make a tensor of one column; a graph has no text that is missing, and knows the empty one as little."""
    if dtype == "object":
        column = [value if isinstance(value, str) else "" for value in column]
    return np.asarray(column, dtype).reshape(-1, 1)


def _read_dtype(kind: str) -> str:
    """Return numpy's name of a type such as tensor(double)."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return _NAMES.get(name, name)
