"""Triton's request and response objects ↔ arrays. The only module here that knows them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from .batch import Arrays
from .config import BYTES_SUFFIX, LENGTHS_SUFFIX, ModelConfig, TensorConfig
from .errors import ModelError
from .packed_strings import pack_strings, unpack_strings

Array = npt.NDArray[Any]

# This Triton's backend is made for numpy 1: from 2 on, arrays have to cross by DLPack.
NEEDS_DLPACK = int(np.__version__.split(".")[0]) > 1
# Where devices are of no interest: DLPack's number of the CPU, and the first one.
_CPU = (1, 0)


class _Source:
    """A tensor of Triton's, as numpy asks for it: with keywords of newer DLPacks, which Triton does not know."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._tensor.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


class _Target:
    """An array, as Triton asks for it.

    Triton gives a capsule that it has taken another name than DLPack says, over which numpy's destructor of capsules
    stumbles. That one has nothing left to do then: the array is let go by the deleter in the capsule.
    """

    __slots__ = ("_array",)

    def __init__(self, array: Array) -> None:
        # A copy of what is read-only or has gaps.
        self._array = array if array.flags.carray else array.copy()

    def __dlpack__(self, **keywords: Any) -> Any:
        capsule = self._array.__dlpack__()
        _set_destructor(capsule, None)
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


_set_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_set_destructor.argtypes = [ctypes.py_object, ctypes.c_void_p]


if NEEDS_DLPACK:

    def to_array(tensor: Any) -> Array:
        """Return a tensor of Triton's as an array."""
        return np.from_dlpack(_Source(tensor))

    def to_tensor(name: str, array: Array) -> Any:
        """Return an array as a tensor of Triton's."""
        return pb_utils.Tensor.from_dlpack(name, _Target(array))

else:

    def to_array(tensor: Any) -> Array:
        """Return a tensor of Triton's as an array."""
        array: Array = tensor.as_numpy()
        return array

    def to_tensor(name: str, array: Array) -> Any:
        """Return an array as a tensor of Triton's."""
        return pb_utils.Tensor(name, array)


def read(request: Any, config: ModelConfig) -> Arrays:
    """Read the input tensors of a request, by name. Raises ModelError if a client packed its strings wrongly."""
    get = pb_utils.get_input_tensor_by_name
    if config.packed_inputs:
        return _read_packed(request, get, config.inputs, config.packed_inputs)
    return {item.name: to_array(get(request, item.name)) for item in config.inputs}


def list_tensors(request: Any) -> dict[str, Any]:
    """Return a request's input tensors by name, for `to_array`."""
    return {tensor.name(): tensor for tensor in request.inputs()}


def read_only_input(request: Any, name: str) -> Array | None:
    """Return the input of this name if it is the request's only one, else None."""
    found = request.inputs()
    return to_array(found[0]) if len(found) == 1 and found[0].name() == name else None


def try_read(request: Any, config: ModelConfig) -> Arrays | ModelError:
    """Read as `read` does, and return its error."""
    try:
        return read(request, config)
    except ModelError as error:
        return error


def _read_packed(
    holder: Any, get: Callable[[Any, str], Any], items: Sequence[TensorConfig], packed: Collection[str]
) -> Arrays:
    arrays = {}
    for item in items:
        values = [to_array(get(holder, name)) for name in _wire_names(item.name, packed)]
        try:
            arrays[item.name] = unpack_strings(*values) if item.name in packed else values[0]
        except ValueError as error:
            raise ModelError(f"tensor {item.name} cannot be read: {error}") from error
    return arrays


def tensors(arrays: Arrays, packed: Collection[str] = ()) -> list[Any]:
    """Make Triton's tensors of arrays, two of each in `packed`."""
    if not packed:
        return [to_tensor(name, array) for name, array in arrays.items()]
    made = []
    for name, array in arrays.items():
        values = pack_strings(array) if name in packed else (array,)
        made += [to_tensor(wire, value) for wire, value in zip(_wire_names(name, packed), values, strict=True)]
    return made


def _wire_names(name: str, packed: Collection[str]) -> tuple[str, ...]:
    return (name + BYTES_SUFFIX, name + LENGTHS_SUFFIX) if name in packed else (name,)


def response(result: Arrays | ModelError, packed: Collection[str] = ()) -> Any:
    """Make an answer, or an error with its code in the text."""
    if isinstance(result, ModelError):
        return failure(str(result))
    return pb_utils.InferenceResponse(output_tensors=tensors(result, packed))


def failure(text: str) -> Any:
    """Make an answer that is an error."""
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(text))


def answer_bytes(name: str, data: bytearray) -> Any:
    """Make an answer of one row of bytes."""
    array = np.frombuffer(data, np.uint8).reshape(1, -1)
    return pb_utils.InferenceResponse(output_tensors=[to_tensor(name, array)])


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


def enqueue_bytes(model: str, request_id: str, name: str, output: str) -> None:
    """Call a model that takes bytes with one under a request id; the answer is of no interest."""
    pb_utils.InferenceRequest(
        model_name=model,
        request_id=request_id,
        requested_output_names=[output],
        inputs=[to_tensor(name, np.zeros((1, 1), np.uint8))],
    ).exec()


def infer_bytes(model: str, data: bytearray, name: str, output: str) -> Array:
    """Call another model of this Triton that takes one row of bytes and answers with one, as `infer` does."""
    array = np.frombuffer(data, np.uint8).reshape(1, -1)
    request = pb_utils.InferenceRequest(
        model_name=model, requested_output_names=[output], inputs=[to_tensor(name, array)]
    )
    answer = request.exec()
    if answer.has_error():
        raise ModelError(answer.error().message())
    # A copy, since Triton's memory goes with its answer.
    return to_array(pb_utils.get_output_tensor_by_name(answer, output)).copy()


def infer(model: str, arrays: Arrays, config: ModelConfig) -> Arrays:
    """Call another model of this Triton (BLS), without a limit of time; `config` is that model's.

    Raises ModelError with Triton's text.
    """
    packed = config.packed_outputs
    names = [item.name for item in config.outputs]
    if packed:
        names = [wire for name in names for wire in _wire_names(name, packed)]
    request = pb_utils.InferenceRequest(
        model_name=model, requested_output_names=names, inputs=tensors(arrays, config.packed_inputs)
    )
    answer = request.exec()
    if answer.has_error():
        raise ModelError(answer.error().message())
    get = pb_utils.get_output_tensor_by_name
    if packed:
        return _read_packed(answer, get, config.outputs, packed)
    return {item.name: to_array(get(answer, item.name)) for item in config.outputs}
