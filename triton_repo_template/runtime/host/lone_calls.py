"""Calls with one tensor of one model, as most are: they are looked up where others are read.

All of such a call is known from an earlier one but its values. Each microsecond counts here: the adapter waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ModelError
from .envelope import FAILED, INFER, OK, Part, RawTensor, write_envelope, write_lone_answer
from .loaded_members import LoadedMembers
from .wire_form import Array, to_raw

# Each is some hundred bytes, and a model has one for each number of rows.
_MOST_KNOWN = 1024
# Of longer calls the values take the time.
_MOST_BYTES = 64 * 1024


class _Form(NamedTuple):
    """Whose rows a call has, their shape, and how many bytes their values are."""

    key: str
    shape: tuple[int, ...]
    size: int


class LoneCalls:
    """Answer calls that are known, which have the host's key in them."""

    def __init__(self, members: LoadedMembers) -> None:
        self._get = members.get
        self._count_growth = members.count_growth
        # By all that stands before the values.
        self._forms: dict[bytes, _Form] = {}
        # Where the values begin in calls of so many bytes.
        self._places: dict[int, int] = {}

    def answer(self, call: Array) -> bytearray | None:
        """Return the answer to a call, which is an array of bytes; None if it is to be read."""
        begin = self._places.get(len(call))
        if begin is None:
            return None
        form = self._forms.get(call[:begin].tobytes())
        if form is None or (member := self._get(form.key)) is None or (tensor := member.inputs.lone_tensor) is None:
            return None
        name, dtype = tensor
        try:
            values: Array = np.ndarray(form.shape, dtype, call.data, begin)
        except (TypeError, ValueError):
            # Another model has the name now.
            return None
        if values.nbytes != form.size:
            return None
        # Triton's memory begins anywhere.
        (result,), micros = member.answer([{name: values if values.flags.aligned else values.copy()}])
        self._count_growth(member, micros)
        if isinstance(result, ModelError):
            return write_envelope([Part(FAILED, str(result).encode())])
        if (output := member.outputs.lone_tensor) is None:
            return write_envelope([Part(OK, b"", to_raw(member.outputs.pack(result)), micros)])
        array = result[output[0]]
        return write_lone_answer(RawTensor(array.shape, array.tobytes()), micros)

    def learn(self, call: Array, parts: Sequence[Part], key: bytes) -> None:
        """Know a call from now on if it is such a one; it was read, and has the right key."""
        if len(parts) != 1 or parts[0].kind != INFER or len(parts[0].tensors) != 1 or len(call) > _MOST_BYTES:
            return
        ((shape, values),) = parts[0].tensors
        # What follows the values are zeros up to the next multiple of 8.
        begin = len(call) - len(values) - -len(values) % 8
        head = call[:begin].tobytes()
        if head not in self._forms:
            # Another way to write the same would have its values elsewhere.
            if not shape or write_envelope(parts, key) != call.tobytes():
                return
            if len(self._forms) >= _MOST_KNOWN or len(self._places) >= _MOST_KNOWN:
                self._forms.clear()
                self._places.clear()
            self._forms[head] = _Form(parts[0].text.decode(errors="replace"), shape, len(values))
        self._places[len(call)] = begin
