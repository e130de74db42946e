"""Triton's request and response objects ↔ arrays. The only module here that knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from .batch import Arrays
from .config import TensorConfig
from .errors import ModelError


def read(request: Any, inputs: Sequence[TensorConfig]) -> Arrays:
    """Read the input tensors of a request, by name."""
    return {item.name: pb_utils.get_input_tensor_by_name(request, item.name).as_numpy() for item in inputs}


def tensors(arrays: Arrays) -> list[Any]:
    """Make Triton's tensors of arrays."""
    return [pb_utils.Tensor(name, array) for name, array in arrays.items()]


def response(result: Arrays | ModelError) -> Any:
    """Make an answer, or an error with its code in the text."""
    if isinstance(result, ModelError):
        return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(result)))
    return pb_utils.InferenceResponse(output_tensors=tensors(result))


def log(message: str) -> None:
    """Write an information line to Triton's log."""
    pb_utils.Logger.log_info(message)


def log_error(message: str) -> None:
    """Write an error line to Triton's log."""
    pb_utils.Logger.log_error(message)


def enqueue(model: str, request_id: str, arrays: Arrays, outputs: Sequence[TensorConfig]) -> None:
    """Call a model under a request id; the answer is of no interest."""
    pb_utils.InferenceRequest(
        model_name=model,
        request_id=request_id,
        requested_output_names=[item.name for item in outputs],
        inputs=tensors(arrays),
    ).exec()


def infer(model: str, arrays: Arrays, outputs: Sequence[TensorConfig]) -> Arrays:
    """Call another model of this Triton (BLS), without a limit of time. Raises ModelError with Triton's text."""
    request = pb_utils.InferenceRequest(
        model_name=model, requested_output_names=[item.name for item in outputs], inputs=tensors(arrays)
    )
    answer = request.exec()
    if answer.has_error():
        raise ModelError(answer.error().message())
    return {item.name: pb_utils.get_output_tensor_by_name(answer, item.name).as_numpy() for item in outputs}
