"""What the batcher's policies read, without a batcher."""

from __future__ import annotations

import asyncio

from adapter.batching.call_times import CallTimes
from adapter.batching.queue import PendingQueue, PendingRequest
from adapter.batching.shedding import LoadShedder
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from tests.support.fakes.entries import make_entry

ENTRY = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))])


def make_counters() -> counters.WorkerCounters:
    return counters.WorkerCounters(counters.make_table([ENTRY.name]), 0)


def make_call_times(mean: float = 0.0) -> CallTimes:
    """Calls that take about so many seconds."""
    times = CallTimes(ENTRY, make_counters())
    times.mean = mean
    return times


class Arrivals:
    """A queue, and the requests of one row each that come to it."""

    def __init__(self) -> None:
        self.queue = PendingQueue(ENTRY, make_counters())
        self._nobody = LoadShedder(make_call_times())

    def arrive(self) -> None:
        loop = asyncio.get_running_loop()
        self.queue.append(PendingRequest(loop, ([[0.0]],), loop.time() + 5, (), 0, RequestTimings()))

    def clear(self) -> None:
        """Take all that wait."""
        while self.queue.take(self._nobody, 0.0, 0.0):
            pass
