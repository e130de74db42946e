"""`m`, the front: gets the batch that Triton formed, and passes it to `m_direct` in one call.

It is numpy only, so that its instances are cheap, and the same for every backend.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from . import triton_io
from .batch import Arrays, call_joined, rows_of
from .config import ModelConfig
from .errors import BadModelOutput, DeadlineExceeded, ModelError, ModelUnreachable

# Calls that outlived their deadline still hold a thread, until `m_direct` is unloaded. With this many, it is
# taken for stuck and the next batch is refused at once.
_MOST_STUCK = 8

# What Triton says when the fault is not in the rows, so that splitting the batch would only repeat it.
_NOT_THE_ROWS = (
    "is not healthy",
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
        self._config = ModelConfig.parse(args["model_config"])
        parameters = self._config.parameters
        self._name = args["model_name"]
        self._direct = parameters["direct_model"]
        self._timeout = int(parameters["timeout_ms"]) / 1e3
        self._debug = parameters["debug"] == "1"
        self._pool = ThreadPoolExecutor(_MOST_STUCK, thread_name_prefix="call")
        self._stuck: set[Future[Arrays]] = set()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One call of `m_direct` for all requests of a batch; halves of it where that fails."""
        deadline = time.monotonic() + self._timeout
        items = [triton_io.read(request, self._config.inputs) for request in requests]
        results = call_joined(items, lambda arrays: self._call(arrays, deadline))
        if self._debug:
            rows = sum(rows_of(item) for item in items)
            elapsed = (time.monotonic() - deadline + self._timeout) * 1e3
            triton_io.log(f"{self._name}: {len(items)} requests, {rows} rows in {elapsed:.2f} ms")
        return [triton_io.response(result) for result in results]

    def finalize(self) -> None:
        # Not waiting: a stuck call ends with this process.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _call(self, arrays: Arrays, deadline: float) -> Arrays:
        """Triton's BLS has no deadline of its own, so the call runs in a thread that may be left behind."""
        if len(self._stuck) >= _MOST_STUCK:
            raise ModelUnreachable(f"{self._direct} does not answer: {len(self._stuck)} calls hang")
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded(f"{self._direct} did not answer in {self._timeout:g} s")
        future = self._pool.submit(self._infer, arrays)
        try:
            return future.result(timeout=remaining)
        except FutureTimeout:
            self._stuck.add(future)
            future.add_done_callback(self._stuck.discard)
            raise DeadlineExceeded(f"{self._direct} did not answer in {self._timeout:g} s") from None

    def _infer(self, arrays: Arrays) -> Arrays:
        try:
            return triton_io.infer(self._direct, arrays, self._config.outputs)
        except ModelError as error:
            # args[0] is Triton's own text; what m_direct's runtime said has its code in it already.
            text = str(error.args[0])
            if "[schwift:" not in text and any(phrase in text for phrase in _NOT_THE_ROWS):
                raise ModelUnreachable(text) from error
            raise passed_on(text) from error


def passed_on(text: str) -> ModelError:
    """An error of `m_direct` as it was, with its code; C++ backends' errors have none, and are model errors."""
    for kind in (BadModelOutput, ModelError):
        mark = f"[schwift:{kind.code}] "
        if mark in text:
            return kind(text.split(mark, 1)[1])
    return ModelError(text)
