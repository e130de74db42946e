"""Keeps the event loop awake for the moment that a quick answer takes, and for the client that asks again at once.

Putting a process to sleep and waking it costs more than a small model needs to answer: between two cores about a third
of a lone request's time, and of a call with a few (docs/performance.md). So while one call of a quick model is in
flight, the loop looks for its answer again and again in place of sleeping, and a moment longer if clients have come
back in that moment. It goes on serving everything else meanwhile. Where it would take the only core, or others' calls
need the cores too, it sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType

from adapter.batching.call_times import QUICK_SECONDS, MeanTime
from adapter.batching.shared_cores import SharedCores

# With more clients the loop has work to do for most of a call.
_MOST_REQUESTS = 16
# Each takes a microsecond or two: an end even if the clock stands still.
MOST_TURNS = 2000
# After an answer: what a client needs to read it and to ask again.
_AFTER_SECONDS = 0.0001
# So many times in a row that nobody came back: from then on it is tried once in a while.
MOST_MISSED = 8
TRY_EVERY = 16
_ASLEEP = contextlib.nullcontext()


class BusyPoll:
    """Keep the loop from sleeping during a call, for which this is a context, and a moment after.

    `clock` is finer than the loop's time, which is whole milliseconds. `awake` is whether it has an effect now.
    """

    def __init__(self, call_times: MeanTime, clock: Callable[[], float], cores: SharedCores) -> None:
        self._call_times = call_times
        self._clock = clock
        self._cores = cores
        # Kept: asking for the running loop is a system call in Python 3.11 and before.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._until = 0.0
        self.awake = False
        self._turns = 0
        self._missed = 0
        self._tries = 0

    def during(self, requests: int) -> contextlib.AbstractContextManager[None]:
        """Return the context of a call that has begun, of so many requests: this one if it is worth a core."""
        cores = self._cores
        return self if cores.has_spare and cores.calls == 1 and requests <= _MOST_REQUESTS else _ASLEEP

    def __enter__(self) -> None:
        self._missed = 0 if self.awake else self._missed + 1
        expected = self._call_times.mean
        # Slower calls are not worth it: the core would be taken from the model.
        if 0 < expected < QUICK_SECONDS:
            self._until = self._clock() + 2 * expected
            self._turns = 0
            if not self.awake:
                self.awake = True
                loop = self._loop = self._loop or asyncio.get_running_loop()
                loop.call_soon(self._turn)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tries += 1
        after = self.awake and (self._missed < MOST_MISSED or self._tries % TRY_EVERY == 0)
        self._until = self._clock() + _AFTER_SECONDS if after else 0.0

    def _turn(self) -> None:
        assert self._loop is not None
        # The loop does not sleep while something is to be called at once.
        self._turns += 1
        if self._turns < MOST_TURNS and self._clock() < self._until:
            self._loop.call_soon(self._turn)
        else:
            self.awake = False
