"""What a pickle says of dtypes, and of the arrays that joblib writes into it, held to the forms that numpy writes.

joblib (0.10 and later; numpy_pickle.py: NumpyArrayWrapper) puts the bytes of an array right behind the opcodes that
describe it. A reader that passed over another number of bytes than joblib would read another program than joblib runs,
and a dtype that claims to hold no objects, or some, when it does not, makes numpy take bytes for pointers. So anything
but what numpy and joblib write raises OddNumpy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

ARRAY_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
SUBCLASSES = {("numpy", "ndarray"), ("numpy", "matrix"), ("numpy", "memmap")}
_ALIGNMENT = "numpy_array_alignment_bytes"
_KEYS = {"subclass", "shape", "order", "dtype", "allow_mmap"}
_CODE = re.compile(r"([biufcmMOSUV])([1-9]\d{0,8})", re.ASCII)
_FIXED_SIZES = {"b": {1}, "i": {1, 2, 4, 8}, "u": {1, 2, 4, 8}, "f": {2, 4, 8, 16}, "c": {8, 16, 32}, "m": {8},
                "M": {8}, "O": {8}}  # fmt: skip
_HAS_OBJECT = 63
# Without objects: 8 needs init, 16 needs the interpreter's lock, -128 is aligned.
_PLAIN_FLAGS = (0, 8, 16, 24, -128, -120, -112, -104)
_MOST_BYTES = 1 << 60


class OddNumpy(Exception):
    """A dtype or an array is described in a way that numpy and joblib do not write."""


class DtypeStandIn:
    """Stands for a numpy.dtype: what it is made of, and what its state says then."""

    def __init__(self, args: Any) -> None:
        match = _CODE.fullmatch(args[0]) if type(args) is tuple and len(args) == 3 and type(args[0]) is str else None
        if match is None or args[1:] not in ((False, True), (0, 1)):
            raise OddNumpy("a numpy dtype of an unusual form")
        self.code, digits = match.groups()
        size = int(digits)
        if self.code in _FIXED_SIZES and size not in _FIXED_SIZES[self.code]:
            raise OddNumpy("a numpy dtype of an unusual size")
        self.itemsize = 4 * size if self.code == "U" else size
        self.has_object = self.code == "O"
        self._built = False

    def set_state(self, state: Any) -> None:
        """Take what `numpy.dtype.__setstate__` would. Raises OddNumpy if it changes more than what numpy writes."""
        if self._built or type(state) is not tuple or len(state) not in (8, 9):
            raise OddNumpy("a numpy dtype with an unusual state")
        self._built = True
        version, order, subtype, names, fields, elsize, alignment, flags, *metadata = state
        numbers = (version, elsize, alignment, flags)
        sizes = (-1, self.itemsize) if self.code in "SUV" else (-1,)
        if (
            any(type(number) is not int for number in numbers)
            or version not in (3, 4)
            or order not in ("<", ">", "|", "=")
            or subtype is not None
            or elsize not in sizes
            or not -1 <= alignment <= 64
            or flags not in ((_HAS_OBJECT,) if self.has_object else _PLAIN_FLAGS)
        ):
            raise OddNumpy("a numpy dtype with an unusual state")
        if metadata and not (self.code in "mM" and _is_time_unit(metadata[0])):
            raise OddNumpy("a numpy dtype with metadata")
        if names is not None or fields is not None:
            self._check_fields(names, fields)

    def _check_fields(self, names: Any, fields: Any) -> None:
        if self.code != "V" or type(names) is not tuple or type(fields) is not dict or set(fields) != set(names):
            raise OddNumpy("a numpy dtype with unusual fields")
        for name, value in fields.items():
            if type(name) is not str or type(value) is not tuple or len(value) != 2:
                raise OddNumpy("a numpy dtype with unusual fields")
            dtype, offset = value
            inside = isinstance(dtype, DtypeStandIn) and type(offset) is int and offset >= 0
            if not inside or dtype.has_object or offset + dtype.itemsize > self.itemsize:
                raise OddNumpy("a numpy dtype with objects or overlaps in its fields")


def _is_time_unit(value: Any) -> bool:
    """Tell whether this is what datetime64[ns] has: `({}, (b"ns", 1, 1, 1))`."""
    if type(value) is not tuple or len(value) != 2 or value[0] not in ({}, None) or type(value[1]) is not tuple:
        return False
    unit, *numbers = value[1]
    return type(unit) in (bytes, str) and len(unit) <= 8 and all(type(number) is int for number in numbers)


class ArrayStandIn:
    """Stands for joblib's wrapper of an array, until its state says which array follows."""

    def __init__(self) -> None:
        self._built = False

    def set_state(self, state: Any, name_of: Any) -> tuple[int, bool] | None:
        """Return the bytes that follow, and whether padding stands before them; None if a pickle follows.

        `name_of` gives the name of a class that the file refers to. Raises OddNumpy.
        """
        if self._built or type(state) is not dict or not all(type(key) is str for key in state):
            raise OddNumpy("an array of joblib's with an unusual state")
        self._built = True
        if set(state) - {_ALIGNMENT} != _KEYS or name_of(state["subclass"]) not in SUBCLASSES:
            raise OddNumpy("an array of joblib's with an unusual state")
        dtype, mapped, alignment = state["dtype"], state["allow_mmap"], state.get(_ALIGNMENT)
        if (
            not isinstance(dtype, DtypeStandIn)
            or type(state["order"]) is not str
            or state["order"] not in ("C", "F")
            or type(mapped) is not bool
            or (alignment is not None and (type(alignment) is not int or not 0 < alignment < 256))
        ):
            raise OddNumpy("an array of joblib's with an unusual state")
        size = _count_bytes(state, dtype)
        if dtype.has_object:
            if mapped:
                raise OddNumpy("an array of objects that is to be mapped from the file")
            return None
        return size, alignment is not None


def _count_bytes(state: Mapping[str, Any], dtype: DtypeStandIn) -> int:
    shape = state["shape"]
    if type(shape) is not tuple or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise OddNumpy("an array of joblib's with an unusual shape")
    # joblib multiplies within 64 bits, and cannot read items of no bytes.
    size = math.prod(max(n, 1) for n in shape) * dtype.itemsize
    if not 0 < size < _MOST_BYTES:
        raise OddNumpy("an array of joblib's with an unusual shape")
    return math.prod(shape) * dtype.itemsize
