"""The backend `onnxruntime` of the embedded Triton, in Python; containers have NVIDIA's C++ one.

It reads the same config.pbtxt: default_model_filename, intra_op_thread_count, inter_op_thread_count, reshape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from . import triton_io
from .batch import Arrays, call_joined, rows_of
from .config import ModelConfig
from .conform import conform, decode_text
from .errors import BadModelOutput, LoadError
from .threads import available_cores


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self._config = ModelConfig.parse(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        path = folder / (self._config.default_model_filename or "model.onnx")
        options = ort.SessionOptions()
        cores = available_cores()
        for name, attribute in (
            ("intra_op_thread_count", "intra_op_num_threads"),
            ("inter_op_thread_count", "inter_op_num_threads"),
        ):
            setattr(options, attribute, min(cores, int(self._config.parameters.get(name, "1"))))
        # Spinning threads would take the cores from the other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            triton_io.log_error(f"{args['model_name']}: {error}")
            raise LoadError(f"ONNX Runtime cannot load {path.name}: the server's log has the details") from None
        self._outputs = [item.name for item in self._config.outputs]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """All requests of a batch in one run of the graph."""
        items = [triton_io.read(request, self._config.inputs) for request in requests]
        return [triton_io.response(result) for result in call_joined(items, self._call)]

    def _call(self, arrays: Arrays) -> Arrays:
        feeds = {
            item.name: decode_text(arrays[item.name]) if item.dtype == "object" else arrays[item.name]
            for item in self._config.inputs
        }
        results = self._session.run(self._outputs, feeds)
        for item, result in zip(self._config.outputs, results, strict=True):
            # As the C++ backend does: a graph's types are its own, nothing is cast.
            if item.dtype != "object" and result.dtype != item.dtype:
                raise BadModelOutput(f"output {item.name} is {result.dtype}, and the config says {item.dtype}")
        return conform(dict(zip(self._outputs, results, strict=True)), self._config.outputs, rows_of(arrays))
