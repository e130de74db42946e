"""Several adapter processes on one port: started together, ended together, and replaced if one dies."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable

_log = logging.getLogger("schwift.adapter")

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A worker that dies at once is not started in a busy loop.
_PAUSE_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def run(count: int, serve: Callable[[int], int], on_stop: Callable[[], None]) -> int:
    """Fork `count` processes that each end with `serve(its number)`, until a signal ends them all.

    `on_stop` is called here at that signal, and no process is started after it. Return 0 if each ended well, and 1
    otherwise. Call it before anything starts threads or an event loop.
    """
    return _Workers(count, serve, on_stop).run()


class _Workers:
    def __init__(self, count: int, serve: Callable[[int], int], on_stop: Callable[[], None]) -> None:
        self._serve = serve
        self._on_stop = on_stop
        self._count = count
        self._pids: dict[int, int] = {}
        self._stopping = False
        # Under nohup the end of a terminal is none of ours.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._signals = _STOP_SIGNALS[:-1] if ignored else _STOP_SIGNALS

    def run(self) -> int:
        before = {number: signal.signal(number, self._stop) for number in self._signals}
        try:
            for worker in range(self._count):
                self._start(worker)
            failed = False
            while self._pids:
                pid, status = os.waitpid(-1, 0)
                worker = self._pids.pop(pid, -1)
                code = os.waitstatus_to_exitcode(status)
                if self._stopping:
                    # A signal that comes before its handler is there ends a process as signals do.
                    failed |= code not in (0, *(-number for number in _STOP_SIGNALS))
                elif worker >= 0:
                    _log.error("worker %d ended by itself with code %d, and is started again", worker, code)
                    time.sleep(_PAUSE_SECONDS)
                    self._start(worker)
            return int(failed)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, worker: int) -> None:
        if self._stopping:
            return
        # Held back until the child is known, so that it is told of a signal that comes meanwhile.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._become(worker)
        self._pids[pid] = worker
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def _become(self, worker: int) -> None:
        """Serve as this worker in the process that was just forked, and end it."""
        code = 1
        try:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            for number in self._signals:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            code = self._serve(worker)
        except BaseException:
            _log.exception("worker %d failed", worker)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self, number: int, _: object) -> None:
        self._stopping = True
        self._on_stop()
        for pid in self._pids:
            # It may have ended just now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
