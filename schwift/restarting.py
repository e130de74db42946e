"""A process that is started again whenever it ends by itself, for ever, with a growing pause."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from converter.errors import ServeError
from schwift.process_group import ProcessGroup

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 10.0
# A process that lived this long was well: the next wait is the first one again.
_WELL_SECONDS = 60.0

Say = Callable[[str], None]


class RestartBackoff:
    """Double the pause between two lives, from 0.1 s up to 10 s."""

    def __init__(self) -> None:
        self._seconds = _FIRST_SECONDS

    def after(self, lived: float) -> float:
        """Return the pause after a life, both in seconds."""
        if lived >= _WELL_SECONDS:
            self._seconds = _FIRST_SECONDS
        seconds = self._seconds
        self._seconds = min(2 * seconds, _LONGEST_SECONDS)
        return seconds


class RestartingProcess:
    """A process and its lives: `start` begins one, `clean` removes what one leaves, `say` takes a line for the user.

    `tick` is called every moment, and does not wait.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], ProcessGroup],
        clean: Callable[[], None],
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._start = start
        self._clean = clean
        self._say = say
        self._clock = clock
        self._backoff = RestartBackoff()
        self._process: ProcessGroup | None = None
        # Whether it did its work: in any life, in this one.
        self._worked = self._works = False
        self._started = 0.0
        self._due = 0.0

    @property
    def process(self) -> ProcessGroup | None:
        """The current life; None between two."""
        return self._process

    def start(self) -> None:
        """Begin a life. Raises OSError if no process is to be had."""
        self._works = False
        self._started = self._clock()
        self._process = self._start()

    def mark_healthy(self) -> None:
        """Note that it does its work, and so is worth starting again."""
        if self._worked and not self._works:
            self._say(f"{self.name} is back")
        self._worked = self._works = True

    def tick(self) -> None:
        """Notice its end, and begin the next life when it is due. Raises ServeError if it never worked."""
        if self._process is None:
            if self._clock() >= self._due:
                self._start_again()
        elif (code := self._process.exit_code()) is not None:
            self.restart(_how(code))

    def restart(self, why: str) -> None:
        """End what is left of it, and begin another life after a pause; `why` follows its name in what is said.

        Raises ServeError if it never worked: another start would end in the same way.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        process.stop(patience=0)
        self._clean()
        words = process.last_words()
        if not self._worked:
            raise ServeError(f"{self.name} {why}\n{words}".rstrip())
        self._schedule(why, words)

    def send(self, number: int) -> None:
        """Send a signal to the current life, if there is one."""
        if self._process is not None:
            self._process.send(number)

    @property
    def runs(self) -> bool:
        """Whether there is a current life, and it has not ended."""
        return self._process is not None and self._process.exit_code() is None

    def stop(self, patience: float) -> None:
        """Send SIGTERM, after `patience` seconds SIGKILL to all of it, and clean up."""
        if self._process is not None:
            self._process.stop(patience)
            self._process = None
        self._clean()

    def _start_again(self) -> None:
        try:
            self.start()
        except OSError as error:
            # No process or file to be had at the moment.
            self._schedule("could not be started", str(error))

    def _schedule(self, why: str, words: str) -> None:
        now = self._clock()
        pause = self._backoff.after(now - self._started)
        self._due = now + pause
        said = "".join(f"\n  {line}" for line in words.splitlines())
        self._say(f"{self.name} {why}; it is started again in {pause:g} s{said}")


def _how(code: int) -> str:
    return f"ended with code {code}" if code >= 0 else f"was ended by signal {-code} ({signal.Signals(-code).name})"
