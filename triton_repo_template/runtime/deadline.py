"""A blocking call that may be left behind: Triton's BLS has no deadline of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class CallTimeout(Exception):
    """The call did not end in time; it goes on, and its result is dropped."""


class _Worker(Generic[T]):
    """A thread that makes one call after the other. A daemon: one that hangs ends with its process."""

    def __init__(self, left: Callable[[_Worker[T]], None]) -> None:
        self.calls: SimpleQueue[Callable[[], T] | None] = SimpleQueue()
        self.results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self.abandoned = False
        self._left = left
        threading.Thread(target=self._run, name="call", daemon=True).start()

    def _run(self) -> None:
        while (call := self.calls.get()) is not None:
            try:
                self.results.put((call(), None))
            except BaseException as error:
                self.results.put((None, error))
            if self.abandoned:
                self._left(self)
                return


class TimedCaller(Generic[T]):
    """Makes one call at a time, from one thread, each with a timeout."""

    def __init__(self) -> None:
        self._worker: _Worker[T] | None = None
        self._stuck: set[_Worker[T]] = set()

    @property
    def stuck(self) -> int:
        """Calls that outlived their timeout and have not ended since."""
        return len(self._stuck)

    def call(self, function: Callable[[], T], timeout: float) -> T:
        """Return or raise what `function` does. Raises CallTimeout after `timeout` seconds."""
        if self._worker is None:
            self._worker = _Worker(self._stuck.discard)
        worker = self._worker
        worker.calls.put(function)
        try:
            result, error = worker.results.get(timeout=timeout)
        except Empty:
            # The thread is left to its call, and the next call gets another.
            self._stuck.add(worker)
            worker.abandoned = True
            # It may have ended just before it could see that.
            worker.calls.put(None)
            self._worker = None
            if not worker.results.empty():
                self._stuck.discard(worker)
            raise CallTimeout from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # no error, so it is what the call returned

    def close(self) -> None:
        """End the thread, unless it hangs."""
        if self._worker is not None:
            self._worker.calls.put(None)
            self._worker = None
