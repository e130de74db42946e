"""ONNX graphs: the backend `onnxruntime` of the embedded Triton, in Python, and those that model.py serves.

The first reads the config.pbtxt of NVIDIA's C++ backend. The second have strings, which reach them packed.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from . import triton_io
from .batch import Arrays, call_each, rows_of
from .config import ModelConfig
from .conform import conform, decode_inputs
from .errors import BadModelOutput, LoadError
from .threads import available_cores

# A call that is shorter is over before a second thread has woken, whose core another process can use.
_LONG_SECONDS = 0.0001
_TRIES = 5
# Made-up rows that take more room are not tried: their call is long.
_MOST_BYTES = 1024 * 1024
# What ONNX Runtime says of a StringNormalizer.
_LOCALE = re.compile(r"Failed to construct locale with name:([\w.@-]+)")


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load, with what Triton says of the model. Raises ModelError, whose text Triton shows."""
        self._config = ModelConfig.parse(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        path = folder / (self._config.default_model_filename or "model.onnx")
        intra, inter = (
            min(available_cores(), int(self._config.parameters.get(name, "1")))
            for name in ("intra_op_thread_count", "inter_op_thread_count")
        )
        self._predict = load_graph(path, self._config, intra, inter)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """All requests of a batch in one run of the graph."""
        items = [triton_io.try_read(request, self._config) for request in requests]
        return [triton_io.response(result) for result in call_each(items, self._call)]

    def _call(self, arrays: Arrays) -> Arrays:
        results = self._predict(decode_inputs(arrays, self._config.inputs))
        return conform(results, self._config.outputs, rows_of(arrays))


def load_graph(path: Path, config: ModelConfig, intra: int, inter: int = 1) -> Callable[[Arrays], Arrays]:
    """Load a graph, and return what runs it, with so many threads or, if its calls are short, one.

    Raises LoadError; ONNX Runtime's own text is in the log.
    """
    try:
        session = _open(path, intra, inter)
        if intra > 1 and not _takes_long(session, config):
            session = _open(path, 1, inter)
    except Exception as error:
        triton_io.log_error(f"{path.name}: {error}")
        if locale := _LOCALE.search(str(error)):
            raise LoadError(
                f"{path.name} needs the locale {locale[1]}, which is not here: install it, or export the model with "
                'the locale "C"'
            ) from None
        raise LoadError(f"ONNX Runtime cannot load {path.name}: the server's log has the details") from None
    names = [item.name for item in config.outputs]

    def run(arrays: Arrays) -> Arrays:
        results = session.run(names, arrays)
        for item, result in zip(config.outputs, results, strict=True):
            # As the C++ backend does: a graph's types are its own, nothing is cast.
            if item.dtype != "object" and result.dtype != item.dtype:
                raise BadModelOutput(f"output {item.name} is {result.dtype}, and the config says {item.dtype}")
        return dict(zip(names, results, strict=True))

    return run


def _open(path: Path, intra: int, inter: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra
    options.inter_op_num_threads = inter
    # Spinning threads would take the cores from the other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _takes_long(session: ort.InferenceSession, config: ModelConfig) -> bool:
    """Whether the largest call does, tried with zeros; also where they cannot be made, or the graph refuses them."""
    most = max(1, config.max_batch_size)
    if any(item.dtype == "object" or -1 in item.dims for item in config.inputs):
        return True
    if sum(np.dtype(item.dtype).itemsize * math.prod(item.dims) * most for item in config.inputs) > _MOST_BYTES:
        return True
    # One row first: where that takes long already, the largest call could take minutes.
    return any(_run_takes_long(session, config, rows) for rows in (1, most))


def _run_takes_long(session: ort.InferenceSession, config: ModelConfig, rows: int) -> bool:
    zeros = {item.name: np.zeros((rows, *item.dims), item.dtype) for item in config.inputs}
    try:
        # The first run makes room for the others, and any may be interrupted.
        for _ in range(_TRIES):
            started = time.perf_counter()
            session.run(None, zeros)
            if time.perf_counter() - started < _LONG_SECONDS:
                return False
    except Exception as error:
        triton_io.log(f"{config.default_model_filename}: a trial with {rows} rows of zeros failed: {error}")
    return True
