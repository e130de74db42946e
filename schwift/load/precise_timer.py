"""A timer as precise as Linux has it: event loops' own are as coarse as a millisecond, and many answers take less."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_CLOCK_MONOTONIC, _TFD_FLAGS, _ABSOLUTE = 1, os.O_NONBLOCK | os.O_CLOEXEC, 1
# 0 would switch the timer off.
_SOONEST_SECONDS = 1e-6


class _Timerspec(ctypes.Structure):
    """timerfd_create(2): the interval, which stays 0, and the time."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_seconds", "every_nanos", "seconds", "nanos")]


class PreciseTimer:
    """Call `due` at a time of the clock of `time.monotonic`, some 50 µs late; one time at once."""

    def __init__(self, due: Callable[[], None]) -> None:
        self._due = due
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._ring)

    def set(self, at: float) -> None:
        """Set the time, in the place of one that was set before."""
        whole = max(at, time.monotonic() + _SOONEST_SECONDS)
        spec = _Timerspec(0, 0, int(whole), int(whole % 1 * 1e9))
        if self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Call nothing any more."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _ring(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            # It was set anew between the two.
            return
        self._due()
