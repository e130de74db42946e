"""Looks into models' files in a few bounded processes; one that ends is told of its model, the next has another."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from converter.inspect.discover import ModelSource
from converter.inspect.line_process import LineProcess

# For one model; a large file has more, by what a slow disk and lzma need.
SECONDS = 120.0
_BYTES_A_SECOND = 20 * 1024 * 1024
_FIXED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}

# What a worker says: `facts`, `problems`, `missing` or `memory`; or, of its end, `ended` with its code or `seconds`.
Answer = dict[str, Any]


class WorkerProcess:
    """One process at a time, for models in turn; `seconds` is the bound for one of a usual size."""

    def __init__(self, scratch: Path, seconds: float = SECONDS) -> None:
        isolated = ["-I"] if sys.flags.isolated else []
        self._process = LineProcess(
            [sys.executable, *isolated, "-m", "converter.inspect.worker", str(scratch.resolve())],
            # One thread each: every one reserves memory. TorchScript writes constants in the order of a set.
            # ONNX Runtime from 1.30 on tells its maker of its use, unless it is told not to.
            {"ORT_DISABLE_TELEMETRY": "1", **os.environ, **_FIXED},
        )
        self._seconds = seconds

    def ask(self, source: ModelSource) -> Answer:
        """Return what the process says of a model, or how it ended."""
        size = sum(source.path_of(name).stat().st_size for name in source.files)
        return self._process.ask(pickle.dumps(source), self._seconds + size / _BYTES_A_SECOND)

    def close(self) -> None:
        """End the process, and what it started."""
        self._process.close()


def ask_all(sources: Sequence[ModelSource], scratch: Path, told: Callable[[], None]) -> list[Answer]:
    """Return what one process after the other says of these models, in their order; `told` is called after each."""
    answers = []
    with contextlib.closing(WorkerProcess(scratch)) as worker:
        for source in sources:
            answers.append(worker.ask(source))
            told()
    return answers
