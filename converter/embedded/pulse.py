"""Whether Triton still answers, asked once a second in a thread, since an answer may never come."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable

_PERIOD_SECONDS = 1.0


class Pulse:
    """`silent_seconds` counts questions without an answer, and not the clock: while this process itself is stopped,
    or the machine sleeps, nobody asks."""

    def __init__(self, host: str, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.answered = False
        self._host = host
        self._port = port
        self._clock = clock
        self._silent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(2 * _PERIOD_SECONDS)

    @property
    def silent_seconds(self) -> float:
        """For how long it has not answered; 0 when it did last time."""
        return self._silent * _PERIOD_SECONDS

    def forget(self) -> None:
        """Another Triton is asked from now on, which has not answered yet."""
        self.answered = False
        self._silent = 0

    def ask(self) -> None:
        """One question, with its answer or without, within a period."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_PERIOD_SECONDS)
        try:
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            self._silent += 1
        else:
            # Any answer is one: it turns.
            self._silent = 0
            self.answered = True
        finally:
            connection.close()

    def _run(self) -> None:
        while not self._over.is_set():
            began = self._clock()
            self.ask()
            self._over.wait(max(0.0, began + _PERIOD_SECONDS - self._clock()))
