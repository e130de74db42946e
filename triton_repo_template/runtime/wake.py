"""Cures a stall of Triton's batcher: requests of our own that wake it when the front falls idle.

With a queue policy, this Triton's batcher waits for an idle instance on a condition variable that is notified just
before the instance counts as idle (triton-inference-server/core r24.10: `Payload::Execute` runs the callback before
`DequeuePayload`). The notification is lost, and a waiting request sleeps up to 500 ms although the instance is free.
Any request that is enqueued while an instance is idle notifies again. So some milliseconds after the last batch, if
no other came, we enqueue one to our own model, under a mark that only the instances of this model know.

That one is a batch too: a request which arrives just as it ends is lost in the same way, and then no batch follows
that would cause another wake-up. So a few more follow it, ever further apart, and none waits for the answer of the
one before, which may itself be asleep. What is left is the moment after the last one, when few others are still
about; a canary, which comes when nobody asks, leaves the same moment and has no wake-ups of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue

from .errors import LoadError

# Seconds after the last batch. The first is long enough for the instance to count as idle, and short beside a
# batching delay of 10 ms; the last is well below the 100 ms that a request may wait more than others.
WAKE_AFTER = (0.003, 0.008, 0.020, 0.045, 0.090)
KEY_FILE = "wake_key"
# What follows the key in the id of a canary, by which the adapter asks whether the front answers.
CANARY_SUFFIX = "-canary"
_LEAST_KEY = 32
# Wake-ups that have no answer yet; more would not wake anybody better, and with two there are stalls again. Each holds
# one of the threads that Triton has for the calls of an instance.
_MOST_OUTSTANDING = 4


def read_key(version_folder: Path) -> str:
    """Read the secret mark of this model's wake-ups, which is in a file, as clients can read config.pbtxt."""
    key = (version_folder / KEY_FILE).read_text(encoding="ascii").strip()
    if len(key) < _LEAST_KEY:
        # An empty one would match every request without an id.
        raise LoadError(f"{KEY_FILE} is damaged: build the repository again with `schwift build-repo`")
    return key


class WakeUp:
    """Calls `send` at each of `after`, in seconds since the last `note`, from threads of its own.

    While batches follow each other it only sleeps; once the model is idle it does not even that. `send` may block,
    and its errors are of no interest: the next batch wakes us again.
    """

    def __init__(self, send: Callable[[], None], after: Sequence[float] = WAKE_AFTER) -> None:
        self._after = tuple(after)
        self._last = 0.0
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._senders = _Senders(send)
        self._thread = threading.Thread(target=self._run, name="wake-up", daemon=True)
        self._thread.start()

    def note(self) -> None:
        """Note that a batch of real requests has just been answered."""
        self._last = time.monotonic()
        self._changed.set()

    def stop(self, patience: float = 2.0) -> None:
        """End the threads and wait for them; one that is blocked in `send` is left to the process's end."""
        self._stopped.set()
        self._changed.set()
        self._thread.join(patience)
        self._senders.stop(patience)

    def _run(self) -> None:
        done = 0.0
        while not self._stopped.is_set():
            self._changed.wait()
            # Before `_last` is read: a batch that ends from now on sets it again.
            self._changed.clear()
            if self._last != done:
                done = self._follow()

    def _follow(self) -> float:
        """Send at each time after the last batch, from the first again if another ends; return when it ended."""
        last, sent = self._last, 0
        while sent < len(self._after):
            if self._stopped.wait(max(0.0, last + self._after[sent] - time.monotonic())):
                break
            if self._last != last:
                last, sent = self._last, 0
            else:
                self._senders.send()
                sent += 1
        return last


class _Senders:
    """Threads that each make one call at a time; as many as there are calls without an answer, up to a bound."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._due: SimpleQueue[bool] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._outstanding = 0

    def send(self) -> None:
        """One more call, unless too many have no answer."""
        with self._lock:
            if self._outstanding == _MOST_OUTSTANDING:
                return
            self._outstanding += 1
            if self._outstanding > len(self._threads):
                thread = threading.Thread(target=self._run, name="wake-up-call", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._due.put(True)

    def stop(self, patience: float) -> None:
        """End the threads, and wait so long for all of them together."""
        for _ in self._threads:
            self._due.put(False)
        ends = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _run(self) -> None:
        while self._due.get():
            with contextlib.suppress(Exception):
                self._send()
            with self._lock:
                self._outstanding -= 1
