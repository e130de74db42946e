"""The front of a pack's host: Triton's batcher joins native requests of several models, and they go on in one call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import triton_io
from ..batch import Arrays
from ..config import ModelConfig, TensorConfig
from ..deadline import CallTimeout, TimedCaller
from ..errors import BadModelOutput, DeadlineExceeded, LoadError, ModelError, ModelUnreachable, as_model_error
from ..front import MOST_STUCK, NOT_THE_ROWS, passed_on, restore_missing
from ..wake import CANARY_SUFFIX, WakeUp, read_key
from .envelope import FAILED, LOADING, Part, read_envelope, write_envelope
from .natives import NativeModel, NativeModels, from_part, read_native, to_part
from .pack_host import ANSWER_TENSOR, CALL_TENSOR, read_host_key

# What crosses to the host and back is bytes, and one row.
_BYTES = ModelConfig(
    inputs=(TensorConfig(CALL_TENSOR, "uint8", (-1,)),),
    outputs=(TensorConfig(ANSWER_TENSOR, "uint8", (-1,)),),
    parameters={},
    default_model_filename="",
)
_NOTHING = np.zeros((1, 1), np.uint8)
# Before a model is asked again that is being loaded.
_AGAIN_SECONDS = 0.02


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load, with what Triton says of the model. Raises ModelError, whose text Triton shows."""
        parameters = ModelConfig.parse(args["model_config"]).parameters
        self._name = args["model_name"]
        self._host = parameters["direct_model"]
        self._timeout = int(parameters["timeout_ms"]) / 1e3
        model_folder = Path(args["model_repository"])
        folder = model_folder / args["model_version"]
        self._host_key = read_host_key(folder)
        self._natives = NativeModels(model_folder, args["model_version"])
        self._caller: TimedCaller[list[Part]] = TimedCaller()
        key = read_key(folder)
        self._key, self._ours = key, (key, key + CANARY_SUFFIX)
        self._wake = WakeUp(lambda: triton_io.enqueue(self._name, key, {CALL_TENSOR: _NOTHING}, _BYTES.outputs))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Make one call of the host for all requests of a batch."""
        deadline = time.monotonic() + self._timeout
        answers: list[Any] = []
        asked: list[tuple[int, NativeModel, Part]] = []
        real = False
        for place, request in enumerate(requests):
            request_id = request.request_id()
            real = real or request_id != self._key
            if request_id in self._ours:
                answers.append(triton_io.response({ANSWER_TENSOR: _NOTHING}))
                continue
            answers.append(None)
            try:
                asked.append((place, *self._read(request)))
            except (ModelError, ValueError, KeyError) as error:
                answers[place] = triton_io.response(as_model_error(error))
        for (place, model, _), result in zip(asked, self._ask([part for *_, part in asked], deadline), strict=True):
            answers[place] = _respond(model, result)
        if real:
            self._wake.note()
        return answers

    def finalize(self) -> None:
        """End the threads, before the model is unloaded."""
        self._wake.stop()
        self._caller.close()

    def _read(self, request: Any) -> tuple[NativeModel, Part]:
        names = [tensor.name() for tensor in request.inputs()]
        model = self._natives.find(names)
        if triton_io.NEEDS_DLPACK and any(dtype == "string" for _, dtype in (*model.inputs, *model.outputs)):
            # This Triton would end the process at the first string.
            raise LoadError(
                "strings of Triton's own clients need numpy 1 where fronts run: `schwift doctor` says how to have it"
            )
        arrays = read_native(request, f"{model.name}.")
        for name in model.nullable:
            arrays[name] = restore_missing(arrays[name])
        return model, to_part(model, arrays)

    def _ask(self, parts: list[Part], deadline: float) -> list[Part | ModelError]:
        """Return the answer's part to each; those that are being loaded are asked again until they are there."""
        results: list[Part | ModelError] = [Part(LOADING, b"") for _ in parts]
        left = list(range(len(parts)))
        while left:
            try:
                answers = self._call([parts[at] for at in left], deadline)
            except ModelError as error:
                for at in left:
                    results[at] = error
                break
            for at, answer in zip(left, answers, strict=True):
                results[at] = answer
            left = [at for at, answer in zip(left, answers, strict=True) if answer.kind == LOADING]
            if left:
                time.sleep(_AGAIN_SECONDS)
        return results

    def _call(self, parts: Sequence[Part], deadline: float) -> list[Part]:
        if self._caller.stuck >= MOST_STUCK:
            raise ModelUnreachable(f"{self._host} does not answer: {self._caller.stuck} calls hang")
        remaining = deadline - time.monotonic()
        try:
            if remaining <= 0:
                raise CallTimeout
            return self._caller.call(lambda: self._infer(parts), remaining)
        except CallTimeout:
            raise DeadlineExceeded(f"{self._host} did not answer in {self._timeout:g} s") from None

    def _infer(self, parts: Sequence[Part]) -> list[Part]:
        call = np.frombuffer(bytearray(write_envelope(parts, self._host_key)), np.uint8).reshape(1, -1)
        try:
            answer = triton_io.infer(self._host, {CALL_TENSOR: call}, _BYTES)
        except ModelError as error:
            text = str(error.args[0])
            if "[schwift:" not in text and any(phrase in text for phrase in NOT_THE_ROWS):
                raise ModelUnreachable(text) from error
            raise passed_on(text) from error
        _, answers = read_envelope(memoryview(answer[ANSWER_TENSOR].tobytes()))
        return answers


def _respond(model: NativeModel, result: Part | ModelError) -> Any:
    if isinstance(result, ModelError):
        return triton_io.response(result)
    if result.kind == FAILED:
        return triton_io.response(passed_on(result.text.decode()))
    try:
        arrays: Arrays = {f"{model.name}.{name}": array for name, array in from_part(model, result).items()}
    except ValueError as error:
        return triton_io.response(BadModelOutput(f"an answer of the pack cannot be read: {error}"))
    return triton_io.response(arrays)
