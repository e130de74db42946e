"""Looks into models' files in a few bounded processes; one that ends is told of its model, the next has another."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from converter.inspect.discover import ModelSource

# For one model; a large file has more, by what a slow disk and lzma need.
SECONDS = 120.0
_BYTES_A_SECOND = 20 * 1024 * 1024
_MOST_ANSWER = 16 * 1024 * 1024
_FIXED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}

# What a worker says: `facts`, `problems`, `missing` or `memory`; or, of its end, `ended` with its code or `seconds`.
Answer = dict[str, Any]


class WorkerProcess:
    """One process at a time, for models in turn."""

    def __init__(self, scratch: Path, seconds: float = SECONDS) -> None:
        self._scratch = scratch.resolve()
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, source: ModelSource) -> Answer:
        """Return what the process says of a model, or how it ended."""
        process = self._process or self._start()
        size = sum(source.path_of(name).stat().st_size for name in source.files)
        seconds = self._seconds + size / _BYTES_A_SECOND
        assert process.stdin is not None
        try:
            process.stdin.write(pickle.dumps(source))
            process.stdin.flush()
        except BrokenPipeError:
            return self._report_end(process)
        line = _read_line(process, time.monotonic() + seconds)
        if line is None:
            self.close()
            return {"seconds": round(seconds)}
        try:
            answer: Answer = json.loads(line)
        except ValueError:
            return self._report_end(process)
        return answer

    def close(self) -> None:
        """End the process, and what it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def _report_end(self, process: subprocess.Popen[bytes]) -> Answer:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        code = process.poll()
        self.close()
        return {"ended": code}

    def _start(self) -> subprocess.Popen[bytes]:
        isolated = ["-I"] if sys.flags.isolated else []
        self._process = subprocess.Popen(
            [sys.executable, *isolated, "-m", "converter.inspect.worker", str(self._scratch)],
            # Modules in the current folder must not stand in for ours.
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread each: every one reserves memory. TorchScript writes constants in the order of a set.
            # ONNX Runtime from 1.30 on tells its maker of its use, unless it is told not to.
            env={"ORT_DISABLE_TELEMETRY": "1", **os.environ, **_FIXED},
            start_new_session=True,
        )
        return self._process


def _read_line(process: subprocess.Popen[bytes], ends: float) -> bytes | None:
    """Read the process's next line, or what it wrote before its end; None if neither comes in time."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    # Not select, which knows no descriptor over 1023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    found = bytearray()
    while not found.endswith(b"\n") and len(found) < _MOST_ANSWER:
        if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
            return None
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        found += chunk
    return bytes(found)


def ask_all(sources: Sequence[ModelSource], scratch: Path, told: Callable[[], None]) -> list[Answer]:
    """Return what one process after the other says of these models, in their order; `told` is called after each."""
    answers = []
    with contextlib.closing(WorkerProcess(scratch)) as worker:
        for source in sources:
            answers.append(worker.ask(source))
            told()
    return answers
