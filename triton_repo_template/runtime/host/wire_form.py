"""A model's tensors as they cross to a host: strings packed, each row of at least one axis."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..batch import Arrays
from ..config import BYTES_SUFFIX, LENGTHS_SUFFIX, TensorConfig
from ..errors import ModelError
from ..packed_strings import pack_strings, unpack_strings
from .envelope import RawTensor

Array = npt.NDArray[Any]


class WireForm:
    """The inputs or the outputs of a model; `packed` are those whose strings cross packed.

    `names` are the tensors that cross, in order.
    """

    def __init__(self, items: Sequence[TensorConfig], packed: Collection[str]) -> None:
        self._items = [(item.name, item.name in packed, item.dims == ()) for item in items]
        self._plain = [item.name for item in items]
        # Whether any is other than it crosses.
        self._changed = any(is_packed or is_scalar for _, is_packed, is_scalar in self._items)
        self.names: list[str] = []
        self._dtypes: list[np.dtype[Any]] = []
        for item in items:
            if item.name in packed:
                self.names += item.name + BYTES_SUFFIX, item.name + LENGTHS_SUFFIX
                self._dtypes += np.dtype(np.uint8), np.dtype(np.int32)
            else:
                self.names.append(item.name)
                self._dtypes.append(np.dtype(item.dtype))
        # Name and dtype of the only tensor, if there is one that crosses as it is.
        self.lone_tensor: tuple[str, np.dtype[Any]] | None = None
        if len(items) == 1 and not self._changed:
            self.lone_tensor = self.names[0], self._dtypes[0]

    def view(self, tensors: Sequence[RawTensor]) -> list[Array]:
        """Return views of the values of these. Raises ModelError if they are not what the config promises."""
        if len(tensors) != len(self._dtypes):
            raise ModelError(f"{len(tensors)} tensors, and the model has {len(self._dtypes)}")
        arrays = []
        for (shape, values), dtype, name in zip(tensors, self._dtypes, self.names, strict=True):
            try:
                array: Array = np.ndarray(shape, dtype, values)
            except (TypeError, ValueError) as error:
                raise ModelError(f"tensor {name} cannot be read: {error}") from None
            if not shape or array.nbytes != len(values):
                raise ModelError(f"tensor {name} cannot be read: {len(values)} bytes for {dtype} of {list(shape)}")
            # Triton's memory begins anywhere.
            arrays.append(array if array.flags.aligned else array.copy())
        return arrays

    def unpack(self, values: Sequence[Array]) -> Arrays:
        """Return what the model knows of what crossed. Raises ModelError if these do not go together."""
        if len(values) > 1 and len({len(array) for array in values}) > 1:
            raise ModelError("the tensors have not the same number of rows")
        if not self._changed:
            return dict(zip(self._plain, values, strict=True))
        arrays, rest = {}, iter(values)
        for name, packed, scalar in self._items:
            array = next(rest)
            if packed:
                try:
                    array = unpack_strings(array, next(rest))
                except ValueError as error:
                    raise ModelError(f"tensor {name} cannot be read: {error}") from error
            arrays[name] = array.reshape(len(array)) if scalar and array.ndim == 2 else array
        return arrays

    def pack(self, arrays: Arrays) -> list[Array]:
        """Return what crosses of what the model knows, in the order of `names`."""
        if not self._changed:
            return [arrays[name] for name in self._plain]
        values: list[Array] = []
        for name, packed, scalar in self._items:
            array = arrays[name]
            if scalar and array.ndim == 1:
                array = array.reshape(len(array), 1)
            values += pack_strings(array) if packed else (array,)
        return values


def to_raw(values: Sequence[Array]) -> list[RawTensor]:
    """Return the shapes and values of arrays, for an envelope."""
    return [RawTensor(array.shape, array.tobytes()) for array in values]
