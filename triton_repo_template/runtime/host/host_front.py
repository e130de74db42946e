"""`<pack>_pack`, the front of a host: passes each batch that Triton formed to the host, for all models in one call."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import triton_io
from ..batch import Arrays, join, rows_of, split
from ..config import ModelConfig
from ..deadline import CallTimeout, TimedCaller
from ..errors import DeadlineExceeded, LoadError, ModelError, ModelUnreachable, as_model_error
from ..front import MOST_STUCK, passed_on, restore_missing, unreachable
from ..threads import set_precise_timers
from ..wake import CANARY_SUFFIX, WakeUp, read_key
from .envelope import INFER, LOADING, OK, Part, read_envelope, write_envelope
from .member import split_rows
from .member_names import MemberNames, NamedMember
from .pack_files import ANSWER_TENSOR, CALL_TENSOR, read_host_key
from .wire_form import to_raw

# A host that is loading the model is asked again after so long.
_LOADING_SECONDS = 0.02


class _Item:
    """A request's rows for one member, and their answer."""

    __slots__ = ("arrays", "member", "result")

    def __init__(self, member: NamedMember, arrays: Arrays) -> None:
        self.member = member
        self.arrays = arrays
        self.result: Arrays | ModelError = ModelError("no answer")


def _rows(item: _Item) -> int:
    return rows_of(item.arrays)


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load, with what Triton says of the model. Raises ModelError, whose text Triton shows."""
        set_precise_timers()
        parameters = ModelConfig.parse(args["model_config"]).parameters
        folder = Path(args["model_repository"])
        version_folder = folder / args["model_version"]
        self._name = args["model_name"]
        self._direct = parameters["direct_model"]
        self._timeout = int(parameters["timeout_ms"]) / 1e3
        self._debug = parameters["debug"] == "1"
        self._nullable = frozenset(json.loads(parameters.get("nullable", "[]")))
        self._names = MemberNames(folder.parent / self._direct)
        self._host_key = read_host_key(version_folder)
        self._caller: TimedCaller[list[Part]] = TimedCaller()
        self._key = read_key(version_folder)
        # The ids of requests that we answer by ourselves.
        self._ours = (self._key, self._key + CANARY_SUFFIX)
        self._wake = WakeUp(lambda: triton_io.enqueue_bytes(self._name, self._key, CALL_TENSOR, ANSWER_TENSOR))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One call of the host for all requests of a batch; more for halves of what fails."""
        started = time.monotonic()
        ids = [request.request_id() for request in requests]
        taken = [
            None if known_as in self._ours else self._read(request)
            for request, known_as in zip(requests, ids, strict=True)
        ]
        items = [item for item in taken if isinstance(item, _Item)]
        self._answer(items, started + self._timeout)
        if self._debug:
            rows = sum(map(_rows, items))
            elapsed = (time.monotonic() - started) * 1e3
            triton_io.log(f"{self._name}: {len(items)} requests, {rows} rows in {elapsed:.2f} ms")
        # Not after a canary alone, as in any front.
        if any(known_as not in self._ours for known_as in ids):
            self._wake.note()
        return [_respond(item) for item in taken]

    def finalize(self) -> None:
        """End the threads, before the model is unloaded."""
        self._wake.stop()
        self._caller.close()

    def _read(self, request: Any) -> _Item | ModelError:
        try:
            self._names.refresh()
            tensors = triton_io.list_tensors(request)
            member = self._names.find(tensors)
            if triton_io.NEEDS_DLPACK and member.has_strings:
                # This Triton would end the process at the first string.
                raise LoadError(
                    "strings of Triton's own clients need numpy 1 where fronts run: "
                    "`schwift doctor` says how to have it"
                )
            missing = [name for name in member.input_names if member.prefix + name not in tensors]
            if missing:
                raise ModelError(f"the request has no input {member.prefix}{missing[0]}")
            arrays = {name: triton_io.to_array(tensors[member.prefix + name]) for name in member.input_names}
            marked = [name for name in arrays if member.prefix + name in self._nullable]
            return _Item(member, {**arrays, **{name: restore_missing(arrays[name]) for name in marked}})
        except ModelError as error:
            return error

    def _answer(self, items: Sequence[_Item], deadline: float) -> None:
        """Answer items, those of one member joined; what fails is asked again in halves, until one item is left."""
        groups: dict[tuple[NamedMember, tuple[Any, ...]], list[_Item]] = {}
        for item in items:
            # What has other sizes cannot be joined.
            sizes = tuple(array.shape[1:] for array in item.arrays.values())
            groups.setdefault((item.member, sizes), []).append(item)
        chunks = [chunk for group in groups.values() for chunk in split_rows(group, group[0].member.max_rows, _rows)]
        while chunks:
            halves: list[list[_Item]] = []
            for chunk, answer in zip(chunks, self._ask(chunks, deadline), strict=True):
                if not isinstance(answer, ModelError):
                    for item, result in zip(chunk, answer, strict=True):
                        item.result = result
                elif len(chunk) == 1 or isinstance(answer, ModelUnreachable | LoadError):
                    for item in chunk:
                        item.result = answer
                else:
                    middle = len(chunk) // 2
                    halves += chunk[:middle], chunk[middle:]
            chunks = halves

    def _ask(self, chunks: Sequence[Sequence[_Item]], deadline: float) -> list[list[Arrays] | ModelError]:
        """Make one call of the host for these, and return the answers of each one's items, or its error."""
        try:
            answers = self._call([_write(chunk) for chunk in chunks], deadline)
        except ModelError as error:
            return [error for _ in chunks]
        return [_read_answer(chunk, part) for chunk, part in zip(chunks, answers, strict=True)]

    def _call(self, parts: Sequence[Part], deadline: float) -> list[Part]:
        """Return the parts of the answer, of models that are being loaded once they are."""
        answers = self._call_once(parts, deadline)
        while waiting := [i for i, part in enumerate(answers) if part.kind == LOADING]:
            time.sleep(min(_LOADING_SECONDS, max(0.0, deadline - time.monotonic())))
            again = self._call_once([parts[i] for i in waiting], deadline)
            for i, part in zip(waiting, again, strict=True):
                answers[i] = part
        return answers

    def _call_once(self, parts: Sequence[Part], deadline: float) -> list[Part]:
        """One call of the host, for as long as the deadline allows."""
        if self._caller.stuck >= MOST_STUCK:
            raise ModelUnreachable(f"{self._direct} does not answer: {self._caller.stuck} calls hang")
        late = DeadlineExceeded(f"{self._direct} did not answer in {self._timeout:g} s")
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise late
        try:
            return self._caller.call(lambda: self._infer(parts), remaining)
        except CallTimeout:
            raise late from None

    def _infer(self, parts: Sequence[Part]) -> list[Part]:
        call = write_envelope(parts, self._host_key)
        try:
            data = triton_io.infer_bytes(self._direct, call, CALL_TENSOR, ANSWER_TENSOR)
        except ModelError as error:
            text = str(error.args[0])
            raise (unreachable(text) or passed_on(text)) from error
        try:
            answers = read_envelope(data.reshape(-1).data)[1]
        except ValueError as error:
            raise ModelError(f"the answer of {self._direct} cannot be read: {error}") from error
        if len(answers) != len(parts):
            raise ModelError(f"{self._direct} answered {len(answers)} parts of {len(parts)}")
        return answers


def _write(chunk: Sequence[_Item]) -> Part:
    member = chunk[0].member
    arrays = join([item.arrays for item in chunk])
    return Part(INFER, member.key.encode(), to_raw(member.inputs.pack(arrays)))


def _read_answer(chunk: Sequence[_Item], part: Part) -> list[Arrays] | ModelError:
    if part.kind != OK:
        return passed_on(part.text.decode(errors="replace"))
    outputs = chunk[0].member.outputs
    try:
        return split(outputs.unpack(outputs.view(part.tensors)), [_rows(item) for item in chunk])
    except Exception as error:
        return as_model_error(error)


def _respond(item: _Item | ModelError | None) -> Any:
    if item is None:
        return triton_io.answer_bytes(ANSWER_TENSOR, bytearray(1))
    if isinstance(item, ModelError):
        return triton_io.response(item)
    if isinstance(item.result, ModelError):
        return triton_io.response(item.result)
    return triton_io.response({item.member.prefix + name: array for name, array in item.result.items()})
