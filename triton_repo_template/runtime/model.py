"""`m_direct`: the user's model behind Triton's Python backend."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import triton_io
from .batch import Arrays, call_each, rows_of
from .config import ModelConfig
from .conform import conform, decode_inputs
from .errors import as_model_error
from .loaders import load_predictor
from .threads import (
    available_cores,
    limit_environment,
    limit_loaded,
    set_precise_timers,
    threads_per_instance,
)


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load, with what Triton says of the model. Raises ModelError, whose text Triton shows."""
        set_precise_timers()
        self._config = ModelConfig.parse(args["model_config"])
        self._name = args["model_name"]
        parameters = self._config.parameters
        self._debug = parameters["debug"] == "1"
        threads = threads_per_instance(int(parameters["instances"]), int(parameters["max_workers"]), available_cores())
        limit_environment(threads)
        try:
            folder = Path(args["model_repository"]) / args["model_version"]
            self._predict = load_predictor(folder, self._config, threads)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{self._name}: {traceback.format_exc()}")
            # Triton shows this text as the reason why the model is not loaded.
            raise as_model_error(error) from None
        limit_loaded(threads)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """All requests of a batch in one call of the model."""
        items = [triton_io.try_read(request, self._config) for request in requests]
        packed = self._config.packed_outputs
        return [triton_io.response(result, packed) for result in call_each(items, self._call)]

    def finalize(self) -> None:
        """Let the process end quickly: Python's last collections go through all objects of the model's libraries."""
        gc.freeze()

    def _call(self, arrays: Arrays) -> Arrays:
        rows = rows_of(arrays)
        started = time.monotonic()
        inputs = decode_inputs(arrays, self._config.inputs)
        try:
            result = conform(self._predict(inputs), self._config.outputs, rows)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{self._name}: a call of {rows} rows failed: {as_model_error(error)}")
            if self._debug:
                triton_io.log_error(traceback.format_exc())
            raise
        if self._debug:
            elapsed = (time.monotonic() - started) * 1e3
            triton_io.log(f"{self._name}: {rows} rows in {elapsed:.2f} ms")
        return result
