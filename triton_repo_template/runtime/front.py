"""`m`, the front: passes each batch that Triton formed to `m_direct` in one call. It is numpy only, so it is cheap."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import triton_io
from .batch import Arrays, call_joined, rows_of
from .config import NULL_TEXT, ModelConfig, TensorConfig, pack_strings_of
from .deadline import CallTimeout, TimedCaller
from .errors import BadModelOutput, DeadlineExceeded, LoadError, ModelError, ModelUnfit, ModelUnreachable
from .threads import set_precise_timers
from .wake import CANARY_SUFFIX, WakeUp, read_key

# Calls that outlived their deadline still hold a thread, until `m_direct` is unloaded. With this many, it is
# taken for stuck and the next batch is refused at once.
MOST_STUCK = 4

# What Triton says when the fault is not in the rows, so that splitting the batch would only repeat it.
_NOT_THE_ROWS = (
    "is not healthy",
    "Failed to obtain the health mutex",
    "is not ready",
    "is not found",
    "no available versions",
    "unknown model",
    "Exceeds maximum queue size",
    "Request timeout expired",
)


class TritonPythonModel:
    """Triton makes one per instance, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load, with what Triton says of the model. Raises ModelError, whose text Triton shows."""
        set_precise_timers()
        config = ModelConfig.parse(args["model_config"])
        parameters = config.parameters
        if triton_io.NEEDS_DLPACK and any(item.dtype == "object" for item in (*config.inputs, *config.outputs)):
            # This Triton would end the process at the first string.
            raise LoadError(
                "strings of Triton's own clients need numpy 1 where fronts run: `schwift doctor` says how to have it"
            )
        self._config, self._direct_config = config, pack_strings_of(config)
        self._name = args["model_name"]
        self._direct = parameters["direct_model"]
        self._nullable: list[str] = json.loads(parameters.get("nullable", "[]"))
        self._timeout = int(parameters["timeout_ms"]) / 1e3
        self._debug = parameters["debug"] == "1"
        self._caller: TimedCaller[Arrays] = TimedCaller()
        self._key = read_key(Path(args["model_repository"]) / args["model_version"])
        # The ids of requests that we answer by ourselves.
        self._ours = (self._key, self._key + CANARY_SUFFIX)
        self._cached = parameters["caching"] == "1"
        self._wake = WakeUp(lambda: triton_io.enqueue(self._name, self._key, self._wake_inputs(), self._config.outputs))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One call of `m_direct` for all requests of a batch; halves of it where that fails."""
        deadline = time.monotonic() + self._timeout
        ids = [request.request_id() for request in requests]
        real = [request for request, known_as in zip(requests, ids, strict=True) if known_as not in self._ours]
        items = [self._read(request) for request in real]
        results = call_joined(items, lambda arrays: self._call(arrays, deadline)) if items else []
        if self._debug:
            rows = sum(rows_of(item) for item in items)
            elapsed = (time.monotonic() - deadline + self._timeout) * 1e3
            triton_io.log(f"{self._name}: {len(items)} requests, {rows} rows in {elapsed:.2f} ms")
        # Not after a canary alone: it leaves no more than the last wake-up of a series does.
        if real:
            self._wake.note()
        answers = iter(results)
        return [triton_io.response(self._own_answer() if known_as in self._ours else next(answers)) for known_as in ids]

    def finalize(self) -> None:
        """End the threads, before the model is unloaded."""
        self._wake.stop()
        self._caller.close()

    def _read(self, request: Any) -> Arrays:
        arrays = triton_io.read(request, self._config)
        if not self._nullable:
            return arrays
        return {**arrays, **{name: restore_missing(arrays[name]) for name in self._nullable}}

    def _wake_inputs(self) -> Arrays:
        """Zeros; with Triton's response cache random bytes, since a hit is answered without waking anything."""
        fill = _random if self._cached else _zeros
        return {item.name: fill(item) for item in self._config.inputs}

    def _own_answer(self) -> Arrays | ModelError:
        """Zeros; but nothing that the response cache could keep and give to a client."""
        if self._cached:
            return ModelError("a wake-up or a canary")
        return {item.name: _zeros(item) for item in self._config.outputs}

    def _call(self, arrays: Arrays, deadline: float) -> Arrays:
        """One call of `m_direct`, for as long as the deadline allows."""
        if self._caller.stuck >= MOST_STUCK:
            raise ModelUnreachable(f"{self._direct} does not answer: {self._caller.stuck} calls hang")
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded(f"{self._direct} did not answer in {self._timeout:g} s")
        try:
            return self._caller.call(lambda: self._infer(arrays), remaining)
        except CallTimeout:
            raise DeadlineExceeded(f"{self._direct} did not answer in {self._timeout:g} s") from None

    def _infer(self, arrays: Arrays) -> Arrays:
        try:
            return triton_io.infer(self._direct, arrays, self._direct_config)
        except ModelError as error:
            # args[0] is Triton's own text; what m_direct's runtime said has its code in it already.
            text = str(error.args[0])
            raise (unreachable(text) or passed_on(text)) from error


def _zeros(item: TensorConfig) -> npt.NDArray[Any]:
    """One row."""
    shape = (1, *(max(1, size) for size in item.dims))
    return np.full(shape, b"", dtype=np.object_) if item.dtype == "object" else np.zeros(shape, dtype=item.dtype)


def _random(item: TensorConfig) -> npt.NDArray[Any]:
    """One row."""
    array = _zeros(item)
    if item.dtype == "object":
        return np.full(array.shape, os.urandom(16), dtype=np.object_)
    if item.dtype == "bool":
        bits = np.frombuffer(os.urandom(array.size), dtype=np.uint8) & 1
        return bits.astype(np.bool_).reshape(array.shape)
    return np.frombuffer(os.urandom(array.nbytes), dtype=array.dtype).reshape(array.shape)


def restore_missing(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Put None in the place of its mark in strings that may be missing."""
    restored = array.copy()
    restored[array == NULL_TEXT] = None
    return restored


def unreachable(text: str) -> ModelUnreachable | None:
    """Return the error if Triton's text says that the fault is not in the rows, else None."""
    ours = "[schwift:" not in text and any(phrase in text for phrase in _NOT_THE_ROWS)
    return ModelUnreachable(text) if ours else None


def passed_on(text: str) -> ModelError:
    """Give an error of `m_direct` its class back, by its code; C++ backends' have none, and are model errors."""
    for kind in (BadModelOutput, LoadError, ModelUnfit, ModelError):
        mark = f"[schwift:{kind.code}] "
        if mark in text:
            return kind(text.split(mark, 1)[1])
    return ModelError(text)
