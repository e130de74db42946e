"""Whether Triton still answers: a question each second, without a thread, since the supervisor forks."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

_PERIOD_SECONDS = 1.0
# How often it is looked for the answer.
_LOOK_SECONDS = 0.1
# How long a Triton may take to its first answer, where a hung one is given less.
_START_SECONDS = 60.0
_QUESTION = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class TritonLiveness:
    """Asks one Triton, at host:port or unix:path, which hangs if it does not answer for `hang_seconds`.

    `silent_seconds` counts questions without an answer, and not the clock: while this process itself is stopped, or the
    machine sleeps, nobody asks.
    """

    def __init__(self, address: str, hang_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.answered = False
        host, _, rest = address.rpartition(":")
        self._unix = host == "unix"
        self._address: str | tuple[str, int] = rest if self._unix else (host, int(rest))
        self._hang_seconds = hang_seconds
        self._clock = clock
        self._silent = 0
        self._next = 0.0
        self._ticked = 0.0
        self._socket: socket.socket | None = None
        self._asked = False

    @property
    def silent_seconds(self) -> float:
        """For how long Triton has not answered; 0 if it did last time."""
        return self._silent * _PERIOD_SECONDS

    @property
    def bound_seconds(self) -> float:
        """For how long Triton may be silent; one that has not answered yet may be starting."""
        return self._hang_seconds if self.answered else max(self._hang_seconds, _START_SECONDS)

    @property
    def asking(self) -> bool:
        """Whether a question is under way."""
        return self._socket is not None

    @property
    def rest_seconds(self) -> float:
        """For how long `tick` has nothing to do."""
        return _LOOK_SECONDS if self.asking else max(0.0, self._next - self._clock())

    def reset(self) -> None:
        """Ask another Triton from now on, which has not answered yet."""
        self.close()
        self.answered = False
        self._silent = 0

    def close(self) -> None:
        """Drop the question that is under way."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def tick(self) -> None:
        """Go on with the question that is asked, or begin one when it is time."""
        now = self._clock()
        slept, self._ticked = now - self._ticked > _PERIOD_SECONDS, now
        if self._socket is not None:
            if slept:
                # Nobody was here to read an answer: the question has its whole time again.
                self._next = now + _PERIOD_SECONDS
            self._go_on(self._socket, now >= self._next)
        elif now >= self._next:
            self._next = now + _PERIOD_SECONDS
            # Where we have no descriptor left, that is not Triton's silence.
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX if self._unix else socket.AF_INET)
                self._socket.setblocking(False)
                self._socket.connect_ex(self._address)
                self._asked = False

    def _go_on(self, sock: socket.socket, over: bool) -> None:
        try:
            if not self._asked:
                sock.send(_QUESTION)
                self._asked = True
            # Whatever it says: it turns.
            answered = bool(sock.recv(1))
        except BlockingIOError:
            if not over:
                return
            answered = False
        except OSError:
            answered = False
        self.close()
        self.answered |= answered
        self._silent = 0 if answered else self._silent + 1
