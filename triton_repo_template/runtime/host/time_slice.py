"""How long a thread computes before the kernel looks for another one that wants the same core.

A thread that wakes waits for the end of the slice of the one that runs, which is seen at the next tick, up to 4 ms
later, unless its own slice is shorter. Linux takes a slice for each thread from 6.12 on, and asks for no right; older
kernels do not look at it (sched_setattr(2), `sched_runtime` of a SCHED_OTHER thread).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any

# For those who hand requests on: the kernel's least.
SHORT_SECONDS = 0.0001
# For a call that others should not have to wait for.
LONG_SECONDS = 0.02
# sched_setattr and sched_getattr, which Python does not have.
_SYSTEM_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
# Size, policy, flags, nice, priority; runtime, deadline and period in nanoseconds.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_POLICY, _RUNTIME = 1, 5
_POLICIES = (os.SCHED_OTHER, os.SCHED_BATCH)
_LIBC = ctypes.CDLL(None)


def read_time_slice(thread: int = 0) -> float:
    """Return the slice of a thread in seconds, of this one by default; 0 if the kernel does not say."""
    attributes = _read(thread)
    return float(attributes[_RUNTIME] / 1e9) if attributes else 0.0


def set_time_slice(seconds: float) -> float:
    """Set the slice of this thread, and of those that it starts from now on; return what it was, for setting it back.

    That is 0, which stands for what the kernel gives by itself, where nothing can be set.
    """
    attributes = _read(0)
    if not attributes:
        return 0.0
    before = float(attributes[_RUNTIME] / 1e9)
    attributes[_RUNTIME] = round(seconds * 1e9)
    _LIBC.syscall(_SYSTEM_CALLS[platform.machine()][0], 0, _ATTRIBUTES.pack(*attributes), 0)
    return before


def _read(thread: int) -> list[Any]:
    """Return what the kernel says of a thread; nothing if it has no slice."""
    if platform.machine() not in _SYSTEM_CALLS:
        return []
    content = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if _LIBC.syscall(_SYSTEM_CALLS[platform.machine()][1], thread, content, len(content), 0):
        return []
    attributes = list(_ATTRIBUTES.unpack(content.raw))
    return attributes if attributes[_POLICY] in _POLICIES else []


class CallSlice:
    """A long slice for calls of a model whose last one was slow, so that nobody who wakes meanwhile waits for it."""

    # Quicker ones are over by the next tick or the one after.
    SLOW_SECONDS = 0.005
    __slots__ = ("_before", "_slow")

    def __init__(self) -> None:
        self._slow = False
        self._before = 0.0

    def begin(self) -> None:
        """Begin a call."""
        if self._slow:
            self._before = set_time_slice(LONG_SECONDS)

    def end(self, seconds: float) -> None:
        """End a call, which took so long."""
        if self._slow:
            set_time_slice(self._before)
        self._slow = seconds >= self.SLOW_SECONDS
