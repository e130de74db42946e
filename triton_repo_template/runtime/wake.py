"""Cures a stall of Triton's batcher: one request of our own to wake it when the front falls idle.

With a queue policy, this Triton's batcher waits for an idle instance on a condition variable that is notified just
before the instance counts as idle (triton-inference-server/core r24.10: `Payload::Execute` runs the callback before
`DequeuePayload`). The notification is lost, and a waiting request sleeps up to 500 ms although the instance is free.
Any request that is enqueued while an instance is idle notifies again. So some milliseconds after the last batch, if
no other came, we enqueue one to our own model, under a mark that only the instances of this model know.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from .errors import LoadError

# Long enough for the instance to count as idle, short beside a batching delay of 10 ms.
QUIET_SECONDS = 0.003
KEY_FILE = "wake_key"
_LEAST_KEY = 32


def read_key(version_folder: Path) -> str:
    """The mark of this model's wake-ups: random, made by the build, and the same for all its instances.

    It is in a file and not in config.pbtxt, which clients can read.
    """
    key = (version_folder / KEY_FILE).read_text(encoding="ascii").strip()
    if len(key) < _LEAST_KEY:
        # An empty one would match every request without an id.
        raise LoadError(f"{KEY_FILE} is damaged: build the repository again with `schwift build-repo`")
    return key


class WakeUp:
    """A thread that calls `send` once, `quiet` seconds after the last `note` of a burst.

    While batches follow each other it only sleeps; when the model is idle it does not even that. `send` may block,
    and its errors are of no interest: the next batch wakes us again.
    """

    def __init__(self, send: Callable[[], None], quiet: float = QUIET_SECONDS) -> None:
        self._send = send
        self._quiet = quiet
        self._last = 0.0
        self._noted = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="wake-up", daemon=True)
        self._thread.start()

    def note(self) -> None:
        """A batch of real requests has just been answered."""
        self._last = time.monotonic()
        self._noted.set()

    def stop(self, patience: float = 2.0) -> None:
        """End the thread and wait for it; one that is blocked in `send` is left to the process's end."""
        self._stopped = True
        self._noted.set()
        self._thread.join(patience)

    def _run(self) -> None:
        while True:
            self._noted.wait()
            if self._stopped:
                return
            remaining = self._last + self._quiet - time.monotonic()
            if remaining > 0:
                time.sleep(remaining)
                continue
            # Before the call: a batch that ends meanwhile must cause the next one.
            self._noted.clear()
            if self._stopped:  # `stop` may have come just before that
                return
            try:
                self._send()
            except Exception:
                continue
