"""A process that takes one message at a time and answers each with a line of JSON, within bounds of time and size."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

_MOST_ANSWER = 16 * 1024 * 1024

# A line of the process; or, of its end, `ended` with its code or `seconds`.
Said = dict[str, Any]


class LineProcess:
    """Starts the process when it is asked, and anew if it ended; how it ended is its answer to that message."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self._command = command
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, message: bytes, seconds: float) -> Said:
        """Return what the process says, or how it ended."""
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(message)
            process.stdin.flush()
        except BrokenPipeError:
            return self._report_end(process)
        line = _read_line(process, time.monotonic() + seconds)
        if line is None:
            self.close()
            return {"seconds": round(seconds)}
        try:
            said: Said = json.loads(line)
        except ValueError:
            return self._report_end(process)
        return said

    def close(self) -> None:
        """End the process, and what it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def _report_end(self, process: subprocess.Popen[bytes]) -> Said:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        code = process.poll()
        self.close()
        return {"ended": code}

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command,
            # Modules in the current folder must not stand in for what it imports.
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(self._variables),
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
