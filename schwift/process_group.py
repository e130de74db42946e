"""One child process with its whole group: started, watched and ended together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
# Triton's information lines, what it says on each machine without a GPU, and its tables.
_NOISE = re.compile(r"I\d{4} |E\d{4} .*CudaDriverHelper|\+[-+=]+\+\s*$|\|.*\|\s*$")
# Bytes at the end of a log in which last words are looked for.
_MOST_WORDS = 64 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)

# Those that somebody here waits for, in whichever thread: nobody else may take their exit codes.
OWN: set[int] = set()


class ProcessGroup:
    """A process and all that stay in its group; a session of its own, so that Ctrl-C on a terminal reaches only us.

    The kernel sends it SIGTERM if we die without a word. What it writes is appended to `log`, if there is one.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        # Before it are the words of earlier lives.
        self._log_start = log.stat().st_size if log is not None and log.is_file() else 0
        with contextlib.ExitStack() as stack:
            target: IO[bytes] | None = stack.enter_context(open(log, "ab")) if log else None
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=target,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
                preexec_fn=_die_with_parent,
            )
        OWN.add(self._process.pid)

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return what the process ended with, a negative signal if one ended it; None while it runs."""
        return self._process.poll()

    def last_words(self, lines: int = 5) -> str:
        """Return the last lines of its log that are worth showing, of this life alone."""
        if self.log is None or not self.log.is_file():
            return ""
        with open(self.log, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            # A log that was cut meanwhile has no earlier lives in it.
            start = self._log_start if self._log_start <= end else 0
            # All that can matter: a log of days need not be read whole.
            file.seek(max(start, end - _MOST_WORDS))
            text = file.read().decode(errors="replace").replace("\0", "")
        kept = [line for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
        return "\n".join(kept[-lines:])

    def send(self, number: int) -> None:
        """Send a signal to the process itself, if it still runs."""
        self._process.send_signal(number)

    def stop(self, patience: float) -> None:
        """Send SIGTERM, and after `patience` seconds SIGKILL to the whole group, which may outlive its leader."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                break
            self._process.poll()
            self._reap_orphans()
            time.sleep(0.02)
        self._process.wait()
        OWN.discard(self.pid)

    def _reap_orphans(self) -> None:
        """Wait for those of the group that are ours now (`process_tree.adopt_orphans`) and have ended."""
        if self._process.returncode is not None:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-self.pid, os.WNOHANG)[0]:
                    pass


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
