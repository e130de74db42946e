"""The part of Triton's Python API that the runtime uses, as plain objects: for unit tests without Triton."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt


class Tensor:
    def __init__(self, name: str, array: npt.NDArray[Any]) -> None:
        self._name = name
        self._array = array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> npt.NDArray[Any]:
        return np.asarray(self._array)


class TritonError:
    def __init__(self, text: str) -> None:
        self._text = text

    def message(self) -> str:
        return self._text


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor], error: TritonError | None = None) -> None:
        self.tensors = output_tensors
        self._error = error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error


class InferenceRequest:
    """`exec` is answered by `handler`, which a test sets."""

    handler: Any = None

    def __init__(
        self, model_name: str, requested_output_names: list[str], inputs: list[Tensor], request_id: str = ""
    ) -> None:
        self.model_name = model_name
        self.requested_output_names = requested_output_names
        self.tensors = inputs
        self._request_id = request_id

    def request_id(self) -> str:
        return self._request_id

    def inputs(self) -> list[Tensor]:
        return self.tensors

    def exec(self) -> InferenceResponse:
        answer = type(self).handler(self)
        assert isinstance(answer, InferenceResponse)
        return answer


class Logger:
    lines: ClassVar[list[str]] = []

    @classmethod
    def log_info(cls, text: str) -> None:
        cls.lines.append(text)

    log_error = log_info


def get_input_tensor_by_name(request: Any, name: str) -> Tensor:
    return _by_name(request.tensors, name)


def get_output_tensor_by_name(response: Any, name: str) -> Tensor:
    return _by_name(response.tensors, name)


def _by_name(tensors: list[Tensor], name: str) -> Tensor:
    return next(tensor for tensor in tensors if tensor.name() == name)
