"""Functions that run in a fork of the test's process, since they change or end the process that they run in."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

SECONDS = 60.0


class Fork:
    """A process that runs one function; its exit code is 0 if that returned, or that of its SystemExit, or 1."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def wait(self) -> int:
        """Its exit code once it ends; a signal that ended it is negative."""
        ends = time.monotonic() + SECONDS
        while self._status is None:
            assert time.monotonic() < ends, "it does not end"
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._status = status
            else:
                time.sleep(0.005)
        return os.waitstatus_to_exitcode(self._status)

    def kill(self) -> None:
        """End it, if it goes on."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()


@contextlib.contextmanager
def forked(body: Callable[[], object]) -> Iterator[Fork]:
    """Run `body` in a fork, which ends with the block at the latest."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        except SystemExit as error:
            if error.code is None or isinstance(error.code, int):
                code = error.code or 0
            else:
                os.write(2, f"{error.code}\n".encode())
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    fork = Fork(pid)
    try:
        yield fork
    finally:
        fork.kill()


def run_as_program(module: str, arguments: Sequence[str]) -> None:
    """What `python -m module arguments` does, in this process."""
    sys.modules.pop(module, None)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")
