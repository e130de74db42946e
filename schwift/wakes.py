"""Sleep that ends early: at a signal, at a child's end, or when a descriptor has something to read."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator

_CHUNK = 4096


class Wakes:
    """What wakes the main thread from `sleep`; of a process there is one at a time (`waking`)."""

    def __init__(self, signalled: int) -> None:
        self._signalled = signalled

    def sleep(self, seconds: float, *others: int) -> None:
        """Sleep for so long, or until a signal came, a child ended, or one of the other descriptors can be read."""
        # Not `select`, which takes no descriptor beyond 1023.
        poller = select.poll()
        for descriptor in (self._signalled, *others):
            poller.register(descriptor, select.POLLIN)
        if self._signalled in dict(poller.poll(seconds * 1e3)):
            with contextlib.suppress(BlockingIOError):
                os.read(self._signalled, _CHUNK)


@contextlib.contextmanager
def waking() -> Iterator[Wakes]:
    """Have signals with a handler, and ends of children, be noted for `Wakes`; only in the main thread."""
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):
        os.set_blocking(end, False)
    # Without a handler Python notes no signal.
    before = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    noted_before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    try:
        yield Wakes(read_end)
    finally:
        signal.set_wakeup_fd(noted_before)
        signal.signal(signal.SIGCHLD, before)
        os.close(read_end)
        os.close(write_end)
