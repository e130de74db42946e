"""One turn of a host: all that Triton hands it at once, each member called once for the rows of all requests."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any

from .. import triton_io
from ..batch import Arrays
from ..errors import ModelError, as_model_error
from .envelope import DESCRIBE, EVICT, FAILED, INFER, LOAD, LOADING, OK, Part, RawTensor, read_envelope, write_envelope
from .loaded_members import LoadedMembers
from .lone_calls import LoneCalls
from .member import Member
from .member_names import NamedMember
from .pack_files import ANSWER_TENSOR
from .wire_form import Array, to_raw

# A call that asks for nothing but what is not loaded waits so long before it says that.
PATIENCE_SECONDS = 0.05


class _Rows:
    """Rows of one request for one member, and their answer."""

    __slots__ = ("arrays", "member", "micros", "result")

    def __init__(self, member: Member, arrays: Arrays) -> None:
        self.member = member
        self.arrays = arrays
        self.result: Arrays | ModelError | None = None
        self.micros = 0

    def to_part(self) -> Part:
        """Return the answer as a part of an envelope."""
        result = self.result
        if result is None or isinstance(result, ModelError):
            return Part(FAILED, str(result).encode())
        return Part(OK, b"", to_raw(self.member.outputs.pack(result)), self.micros)


class _Waiting:
    """A part whose member is not in memory: `rows` makes its rows once it is; without, the load alone is asked."""

    __slots__ = ("answer", "future", "rows")

    def __init__(self, future: Future[Member], rows: Callable[[Member], Arrays] | None) -> None:
        self.future = future
        self.rows = rows
        self.answer: Part | _Rows | None = None


_Slot = Part | _Rows | _Waiting


class Turn:
    """What requests ask of the members, answered by `run`. Each request is told of first, in order.

    `lone_calls` learn from calls.
    """

    def __init__(self, members: LoadedMembers, key: bytes, lone_calls: LoneCalls) -> None:
        self._members = members
        self._key = key
        self._lone_calls = lone_calls
        self._work: dict[Member, list[_Rows]] = {}
        self._waiting: list[_Waiting] = []
        self._natives: list[_Waiting] = []

    def take_envelope(self, data: Array) -> Callable[[], Any]:
        """Take a call, and return what makes Triton's answer after `run`. Raises ModelError if it is none."""
        call = data.reshape(-1)
        try:
            key, parts = read_envelope(call.data)
        except ValueError as error:
            raise ModelError(f"the call of the pack cannot be read: {error}") from None
        if not hmac.compare_digest(key, self._key):
            raise ModelError("a call with another key than this pack's")
        self._lone_calls.learn(call, parts, key)
        slots = [self._take(part) for part in parts]
        return lambda: _answer(slots)

    def take_native(self, member: NamedMember, tensors: Mapping[str, Any]) -> Callable[[], Any]:
        """Take a request of one of Triton's own clients, as `take_envelope` does; it waits for the member's load."""

        def read(loaded: Member) -> Arrays:
            names = [member.prefix + name for name in loaded.inputs.names]
            missing = [name for name in names if name not in tensors]
            if missing:
                raise ModelError(f"the request has no input {missing[0]}")
            return loaded.inputs.unpack([triton_io.to_array(tensors[name]) for name in names])

        loaded = self._members.get(member.key)
        if loaded is not None:
            slot: _Slot = self._add(loaded, read(loaded))
        else:
            slot = _Waiting(self._members.ask(member.key), read)
            self._natives.append(slot)
        return lambda: _answer_native(slot, member.prefix)

    def run(self) -> None:
        """Call the members."""
        patience = 0.0 if self._work else PATIENCE_SECONDS
        self._call_all()
        if self._waiting or self._natives:
            until = time.monotonic() + patience
            for slot in self._waiting:
                self._settle(slot, max(0.0, until - time.monotonic()))
            for slot in self._natives:
                self._settle(slot, None)
            self._call_all()

    def _call_all(self) -> None:
        work, self._work = self._work, {}
        for member, rows in work.items():
            results, micros = member.answer([item.arrays for item in rows])
            for item, result in zip(rows, results, strict=True):
                item.result = result
                item.micros = micros
            self._members.count_growth(member, micros)

    def _take(self, part: Part) -> _Slot:
        kind, text, tensors, _ = part
        key = text.decode(errors="replace")
        if kind == INFER:
            member = self._members.get(key)
            if member is None:
                return self._wait(key, lambda loaded: _read_rows(loaded, tensors))
            try:
                return self._add(member, _read_rows(member, tensors))
            except ModelError as error:
                return Part(FAILED, str(error).encode())
        if kind == LOAD:
            return self._wait(key, None)
        if kind == EVICT:
            self._members.evict(key)
            return Part(OK, b"")
        if kind == DESCRIBE:
            return Part(OK, json.dumps(self._members.describe()).encode())
        return Part(FAILED, str(ModelError(f"a part of the unknown kind {kind}")).encode())

    def _wait(self, key: str, rows: Callable[[Member], Arrays] | None) -> _Waiting:
        slot = _Waiting(self._members.ask(key), rows)
        self._waiting.append(slot)
        return slot

    def _add(self, member: Member, arrays: Arrays) -> _Rows:
        rows = _Rows(member, arrays)
        self._work.setdefault(member, []).append(rows)
        return rows

    def _settle(self, slot: _Waiting, patience: float | None) -> None:
        try:
            member = slot.future.result(patience)
            if slot.rows is None:
                said = {"bytes": member.size, "seconds": round(member.seconds, 3)}
                slot.answer = Part(OK, json.dumps(said).encode())
            else:
                slot.answer = self._add(member, slot.rows(member))
        except NotYet:
            slot.answer = Part(LOADING, b"")
        except Exception as error:
            slot.answer = Part(FAILED, str(as_model_error(error)).encode())


def _read_rows(member: Member, tensors: Sequence[RawTensor]) -> Arrays:
    return member.inputs.unpack(member.inputs.view(tensors))


def _answer(slots: Sequence[_Slot]) -> Any:
    parts = []
    for slot in slots:
        if isinstance(slot, _Waiting):
            assert slot.answer is not None, "the turn was not run"
            slot = slot.answer
        parts.append(slot.to_part() if isinstance(slot, _Rows) else slot)
    return triton_io.answer_bytes(ANSWER_TENSOR, write_envelope(parts))


def _answer_native(slot: _Slot, prefix: str) -> Any:
    found = slot.answer if isinstance(slot, _Waiting) else slot
    if isinstance(found, Part):
        # With its code in the text already.
        return triton_io.failure(found.text.decode())
    assert found is not None and found.result is not None, "the turn was not run"
    if isinstance(found.result, ModelError):
        return triton_io.failure(str(found.result))
    form = found.member.outputs
    named = zip(form.names, form.pack(found.result), strict=True)
    return triton_io.response({prefix + name: array for name, array in named})
