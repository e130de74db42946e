"""A pack's host: calls the models that are in this process for all requests that wait, one call a model.

The adapter's requests are envelopes, with parts for several models; those of native clients come through a model's own
ensemble, as tensors whose names begin with the model's. One model's exception is its rows' alone.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import triton_io
from ..batch import Arrays, call_each
from ..config import BYTES_SUFFIX, LENGTHS_SUFFIX, ModelConfig, TensorConfig
from ..errors import LoadError, ModelError, as_model_error
from ..loaders import load_predictor
from ..packed_strings import pack_strings, unpack_strings
from ..threads import available_cores, limit_environment, limit_loaded, threads_per_instance
from .envelope import (
    DESCRIBE,
    EVICT,
    FAILED,
    INFER,
    KEY_BYTES,
    LOAD,
    LOADING,
    OK,
    Part,
    RawTensor,
    read_envelope,
    write_envelope,
)
from .members import Member, Members, Predictor, StillLoading, resident_bytes
from .natives import NativeModel, NativeModels, read_native
from .notes import Notes

CALL_TENSOR, ANSWER_TENSOR = "schwift.call", "schwift.answer"
HOST_KEY_FILE = "host_key"
# Between two looks at how much memory the process has, and what is not worth a note.
_LOOK_SECONDS = 0.25
_WORTH_BYTES = 1024 * 1024


class _Ask:
    """One model's rows of one request. `part` is their place in an envelope; None of a native client's."""

    __slots__ = ("arrays", "key", "member", "native", "part", "request", "result")

    def __init__(self, request: int, part: int | None, key: str) -> None:
        self.request = request
        self.part = part
        self.key = key
        self.native: NativeModel | None = None
        self.member: Member | None = None
        self.arrays: Arrays | ModelError | StillLoading = {}
        self.result: Part | Arrays | ModelError = Part(LOADING, b"")


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Begin with no model. Raises ModelError, whose text Triton shows."""
        parameters = ModelConfig.parse(args["model_config"]).parameters
        self._name = args["model_name"]
        self._threads = threads_per_instance(
            int(parameters["instances"]), int(parameters["max_workers"]), available_cores()
        )
        limit_environment(self._threads)
        model_folder = Path(args["model_repository"])
        folder = model_folder / args["model_version"]
        self._key = read_host_key(folder)
        most = parameters["memory_mb"]
        most_bytes = int(most) * 1024 * 1024 if most else None
        self._members = Members(model_folder.parent, self._name, self._load, most_bytes)
        self._natives = NativeModels(model_folder, args["model_version"])
        self._notes = Notes()
        self._modules = 0
        self._resident, self._looked = resident_bytes(), time.monotonic()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer all requests of a batch, with one call of each model that they ask."""
        asked: list[_Ask] = []
        answers: list[Any] = []
        for place, request in enumerate(requests):
            try:
                answers.append(self._read(place, request, asked))
            except (ModelError, ValueError) as error:
                answers.append(as_model_error(error))
        if len(asked) == 1:
            self._answer(asked)
        else:
            for group in _by_model(asked):
                self._answer(group)
        for ask in asked:
            if ask.part is None:
                answers[ask.request] = ask.result
            else:
                answers[ask.request][ask.part] = ask.result
        return [self._respond(answer, asked, place) for place, answer in enumerate(answers)]

    def finalize(self) -> None:
        """Let the process end quickly: Python's last collections go through all objects of the models' libraries."""
        self._members.close()
        gc.freeze()

    def _load(self, folder: Path, config: ModelConfig, backend: str) -> Predictor:
        if backend == "onnxruntime":
            from ..onnx_model import load_graph

            predict: Predictor = load_graph(
                folder / (config.default_model_filename or "model.onnx"), config, self._threads
            )
        else:
            predict = load_predictor(folder, config, self._threads)
        if len(sys.modules) != self._modules:
            # Libraries that were imported now have pools of their own.
            self._modules = len(sys.modules)
            limit_loaded(self._threads)
        return predict

    def _read(self, place: int, request: Any, asked: list[_Ask]) -> list[Part | None] | None:
        """Note what a request asks; return the places of an envelope's answers, None for a native client's.

        Raises: ModelError or ValueError if it is none of both.
        """
        tensor = request.inputs()[0]
        if tensor.name() != CALL_TENSOR:
            self._read_native(place, request, asked)
            return None
        data = triton_io.to_array(tensor).reshape(-1)
        key, parts = read_envelope(data.data)
        if key != self._key:
            raise ModelError("a call of a pack without its key")
        answers: list[Part | None] = []
        for number, part in enumerate(parts):
            if part.kind != INFER:
                answers.append(self._control(part))
                continue
            answers.append(None)
            ask = _Ask(place, number, part.text.decode())
            try:
                member = ask.member = self._members.get(ask.key)
                ask.arrays = _arrays(member.config, part.tensors)
            except (ModelError, StillLoading) as error:
                ask.arrays = error
            except ValueError as error:
                ask.arrays = ModelError(f"the rows cannot be read: {error}")
            asked.append(ask)
        return answers

    def _read_native(self, place: int, request: Any, asked: list[_Ask]) -> None:
        native = self._natives.find(tensor.name() for tensor in request.inputs())
        ask = _Ask(place, None, native.key)
        ask.native = native
        member = ask.member = self._members.get(native.key, patience=None)
        arrays = read_native(request, f"{native.name}.")
        config = member.config
        try:
            ask.arrays = {item.name: _drop_axis(_read_tensor(arrays, item, config), item) for item in config.inputs}
        except (KeyError, ValueError) as error:
            raise ModelError(f"tensor {error} cannot be read") from error
        asked.append(ask)

    def _control(self, part: Part) -> Part:
        key = part.text.decode()
        try:
            if part.kind == LOAD:
                member = self._members.get(key)
                said: dict[str, Any] = {"bytes": member.size, "seconds": round(member.seconds, 4)}
            elif part.kind == EVICT:
                self._members.evict(key)
                said = {}
            elif part.kind == DESCRIBE:
                said = {"pid": os.getpid(), "members": self._members.describe(), "rss": resident_bytes()}
            else:
                return Part(FAILED, str(ModelError(f"a part of kind {part.kind}")).encode())
        except StillLoading:
            return Part(LOADING, b"")
        except ModelError as error:
            return Part(FAILED, str(error).encode())
        return Part(OK, json.dumps(said).encode())

    def _answer(self, group: Sequence[_Ask]) -> None:
        """Call one model for all who ask it, and give each its result."""
        good = [ask for ask in group if not isinstance(ask.arrays, ModelError | StillLoading)]
        for ask in group:
            if isinstance(ask.arrays, ModelError):
                ask.result = ask.arrays if ask.part is None else Part(FAILED, str(ask.arrays).encode())
        if not good:
            return
        member = good[0].member
        assert member is not None
        key = member.key.encode()
        self._notes.begin(key)
        started = time.perf_counter()
        items: list[Any] = [ask.arrays for ask in good]
        results = call_each(items, lambda arrays: self._call(member, arrays))
        took = round((time.perf_counter() - started) * 1e6)
        self._notes.end()
        self._look(member, key)
        for ask, result in zip(good, results, strict=True):
            if ask.part is None:
                ask.result = result
            elif isinstance(result, ModelError):
                ask.result = Part(FAILED, str(result).encode(), (), took)
            else:
                ask.result = Part(OK, b"", _raw(member.config, result), took)

    def _call(self, member: Member, arrays: Arrays) -> Arrays:
        try:
            return member.call(arrays)
        except (Exception, SystemExit) as error:
            triton_io.log_error(f"{member.key}: a call failed: {as_model_error(error)}")
            raise

    def _look(self, member: Member, key: bytes) -> None:
        """Put down to a model by how much the process has grown, once in a while."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        resident = resident_bytes()
        grown, self._resident = resident - self._resident, resident
        if grown > _WORTH_BYTES:
            member.size += grown
            self._notes.grew(key, member.size)

    def _respond(self, answer: Any, asked: Sequence[_Ask], place: int) -> Any:
        if isinstance(answer, list):
            written = write_envelope(answer)
            array = np.frombuffer(bytearray(written) if triton_io.NEEDS_DLPACK else written, np.uint8)
            return triton_io.response({ANSWER_TENSOR: array.reshape(1, -1)})
        if isinstance(answer, ModelError):
            return triton_io.response(answer)
        ask = next(ask for ask in asked if ask.request == place)
        assert ask.native is not None and ask.member is not None
        outputs = ask.member.config.outputs
        named = {f"{ask.native.name}.{item.name}": _add_axis(answer[item.name], item) for item in outputs}
        return triton_io.response(named, {f"{ask.native.name}.{name}" for name in ask.member.config.packed_outputs})


def read_host_key(folder: Path) -> bytes:
    """Read the key of a host, without which it takes no call. Raises LoadError if it is damaged."""
    try:
        key = (folder / HOST_KEY_FILE).read_bytes().strip()
    except OSError:
        key = b""
    if len(key) != KEY_BYTES:
        raise LoadError(f"{HOST_KEY_FILE} is damaged: build the repository again with `schwift build-repo`")
    return key


def _by_model(asked: Sequence[_Ask]) -> list[list[_Ask]]:
    groups: dict[str, list[_Ask]] = {}
    for ask in asked:
        groups.setdefault(ask.key, []).append(ask)
    return list(groups.values())


def _arrays(config: ModelConfig, tensors: Sequence[RawTensor]) -> Arrays:
    """Return a part's tensors as the model's inputs, without a copy. Raises ValueError if they are not its inputs."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    left = iter(tensors)
    rows = None
    for item in config.inputs:
        if item.name in config.packed_inputs:
            array = unpack_strings(_array(next(left, None), "uint8"), _array(next(left, None), "int32"))
        else:
            array = _array(next(left, None), item.dtype)
        array = _drop_axis(array, item)
        shape = array.shape
        if len(shape) != len(item.dims) + 1 or rows not in (None, shape[0]) or shape[0] < 1:
            raise ValueError(f"{item.name} has the shape {list(shape)}")
        if any(wanted not in (-1, size) for wanted, size in zip(item.dims, shape[1:], strict=True)):
            raise ValueError(f"{item.name} has rows of the shape {list(shape[1:])}")
        rows = shape[0]
        arrays[item.name] = array
    return arrays


def _drop_axis(array: npt.NDArray[Any], item: TensorConfig) -> npt.NDArray[Any]:
    """Return rows of one value as a model takes them that has no axis for it; Triton does that for isolated models."""
    return array.reshape(-1) if not item.dims and array.shape[1:] == (1,) else array


def _add_axis(array: npt.NDArray[Any], item: TensorConfig) -> npt.NDArray[Any]:
    """Undo `_drop_axis` for an answer."""
    return array if item.dims else array.reshape(-1, 1)


def _array(tensor: RawTensor | None, dtype: str) -> npt.NDArray[Any]:
    if tensor is None:
        raise ValueError("a tensor is missing")
    array = np.frombuffer(tensor.values, dtype)
    if not array.flags.aligned:
        array = array.copy()
    return array.reshape(tensor.shape)


def _read_tensor(arrays: Arrays, item: TensorConfig, config: ModelConfig) -> npt.NDArray[Any]:
    if item.name not in config.packed_inputs:
        return arrays[item.name]
    return unpack_strings(arrays[item.name + BYTES_SUFFIX], arrays[item.name + LENGTHS_SUFFIX])


def _raw(config: ModelConfig, result: Arrays) -> list[RawTensor]:
    """Return a result's tensors as they cross."""
    made = []
    for item in config.outputs:
        array = _add_axis(result[item.name], item)
        for one in pack_strings(array) if item.name in config.packed_outputs else (array,):
            made.append(RawTensor(one.shape, one.tobytes()))
    return made
