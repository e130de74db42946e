"""What a model returned → the tensors that its config promises, or an error that says what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .batch import Arrays
from .config import TensorConfig
from .errors import BadModelOutput

Array = npt.NDArray[Any]


def conform(result: Any, outputs: Sequence[TensorConfig], rows: int) -> Arrays:
    """Check what a model returned against its config; return each output, of shape (rows, *dims) and its dtype.

    `result` is an array for one output; for several, a mapping by name or a sequence. (rows,) is taken for (rows, 1).
    """
    return {
        output.name: _conform(value, output, rows)
        for output, value in zip(outputs, _values(result, outputs), strict=True)
    }


def _values(result: Any, outputs: Sequence[TensorConfig]) -> list[Any]:
    names = [output.name for output in outputs]
    if isinstance(result, Mapping):
        missing = [name for name in names if name not in result]
        if missing:
            raise BadModelOutput(f"the model's answer has no {', '.join(missing)}")
        return [result[name] for name in names]
    if len(outputs) == 1:
        return [result]
    if isinstance(result, tuple | list) and len(result) == len(outputs):
        return list(result)
    raise BadModelOutput(f"the model must answer with {', '.join(names)}: a mapping, or a tuple in this order")


def _conform(value: Any, output: TensorConfig, rows: int) -> Array:
    array = _as_array(value, output)
    if array.ndim == 1 and output.dims == (1,):
        array = array.reshape(-1, 1)
    if array.ndim == 0 or len(array) != rows:
        found = "no rows" if array.ndim == 0 else f"{len(array)} rows"
        raise BadModelOutput(f"output {output.name} has {found}, and the input {rows}")
    shape = array.shape[1:]
    if len(shape) != len(output.dims) or any(
        promised not in (-1, size) for promised, size in zip(output.dims, shape, strict=True)
    ):
        raise BadModelOutput(
            f"output {output.name} has rows of shape {list(shape)}, and the config says {list(output.dims)}"
        )
    return _cast(array, output)


def _as_array(value: Any, output: TensorConfig) -> Array:
    if value is None:
        raise BadModelOutput(f"output {output.name} is None")
    if hasattr(value, "toarray"):
        value = value.toarray()  # scipy's sparse matrices
    elif hasattr(value, "detach"):
        value = value.detach().cpu().numpy()  # torch
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadModelOutput(f"output {output.name} is ragged: its rows differ in length") from error
    return array


def _cast(array: Array, output: TensorConfig) -> Array:
    if output.dtype == "object":
        return encode_text(array, output.name)
    target = np.dtype(output.dtype)
    if array.dtype == target:
        return array
    if array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, target, "same_kind"):
        exact = array.dtype.kind in "iuf" and target.kind in "iu"
        if not exact:
            raise BadModelOutput(f"output {output.name} is {array.dtype}, and the config says {target}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
    # Into integers only where no value changes: 2.0 is 2, and 2.5 or 300 in uint8 is an error.
    if target.kind in "iu" and not np.array_equal(cast, array):
        raise BadModelOutput(f"output {output.name} has values that {target} cannot hold")
    return cast


def encode_text(array: Array, name: str) -> Array:
    """Make an object array of UTF-8 bytes, as Triton carries strings."""
    if array.dtype.kind not in "OUS":
        raise BadModelOutput(f"output {name} is {array.dtype}, and the config says string")
    flat = np.empty(array.size, dtype=np.object_)
    for i, item in enumerate(array.ravel().tolist()):
        if isinstance(item, str):
            flat[i] = item.encode()
        elif isinstance(item, bytes):
            flat[i] = item
        else:
            raise BadModelOutput(f"output {name} holds a {type(item).__name__}, and the config says string")
    return flat.reshape(array.shape)


def decode_inputs(arrays: Arrays, inputs: Sequence[TensorConfig]) -> Arrays:
    """Return the inputs as models expect them, strings as str."""
    return {
        item.name: decode_text(arrays[item.name]) if item.dtype == "object" else arrays[item.name] for item in inputs
    }


def decode_text(array: Array) -> Array:
    """Make an object array of str, as models expect strings."""
    flat = np.empty(array.size, dtype=np.object_)
    flat[:] = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    return flat.reshape(array.shape)
