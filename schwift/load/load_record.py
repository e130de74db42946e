"""What became of the requests of one step: outcomes, latencies, and how each second went."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import orjson

from schwift.load.answer_check import AnswerCheck
from schwift.load.latency_histogram import LatencyHistogram

# Outcomes without a status. Whoever asked waited in vain for the first two.
TIMEOUT, UNSENT, CLOSED, NO_CONNECTION, NO_HTTP = "timeout", "not sent in time", "closed", "no connection", "no HTTP"
_IN_VAIN = (TIMEOUT, UNSENT)
# Sums of floats are off by less: a second that is shorter is none.
_SLACK_SECONDS = 1e-6


@dataclass(frozen=True)
class SecondOfLoad:
    """What was answered within a second, or the rest of a window: `good` with 2xx, of which the latencies are."""

    seconds: float
    good: int
    failed: int
    p50_ms: float
    p99_ms: float


class LoadRecord:
    """Outcomes count requests that were due in the window from `start` to `until`, times of `time.monotonic`.

    Seconds count answers that came in it. `check` compares each answer with the first one to the same request.
    """

    def __init__(self, check: bool = False) -> None:
        self.outcomes: dict[str, LatencyHistogram] = {}
        self.lags = LatencyHistogram()
        self.seconds: list[SecondOfLoad] = []
        self.start = self.until = 0.0
        self.bytes_sent = self.bytes_received = 0
        self.good = self.failed = self.differing = 0
        self._check = AnswerCheck() if check else None
        self._second_ends = 0.0
        self._latencies = array("d")
        self._failures = 0

    def open_window(self, start: float, until: float) -> None:
        """Say when the window is; what came before it is forgotten."""
        self.start, self.until = start, until
        self._second_ends = min(start + 1, until)

    def note_answer(self, number: int, status: int, body: bytes, due: float, now: float) -> None:
        """Note the answer to request `number`, which was due at `due`."""
        if 200 <= status < 300:
            if self._check is not None and not self._check.is_same(number, body):
                self.differing += 1
            self.note(str(status), due, now, True)
        else:
            self.note(_name_error(status, body), due, now)

    def note(self, outcome: str, due: float, now: float, good: bool = False) -> None:
        """Note what became of a request."""
        if self.start <= due < self.until:
            histogram = self.outcomes.get(outcome)
            if histogram is None:
                histogram = self.outcomes[outcome] = LatencyHistogram()
            histogram.record(now - due)
        if self.start <= now < self.until:
            if now >= self._second_ends:
                self.end_seconds(now)
            if good:
                self.good += 1
                self._latencies.append(now - due)
            else:
                self.failed += 1
                self._failures += 1

    def end_seconds(self, now: float) -> None:
        """Close all seconds that are over."""
        while now >= self._second_ends and len(self.seconds) < self.length - _SLACK_SECONDS:
            seconds = self._second_ends - self.start - len(self.seconds)
            latencies = np.array(self._latencies) * 1e3
            p50, p99 = np.percentile(latencies, (50, 99)) if len(latencies) else (0.0, 0.0)
            self.seconds.append(SecondOfLoad(seconds, len(latencies), self._failures, float(p50), float(p99)))
            self._latencies = array("d")
            self._failures = 0
            self._second_ends = min(self._second_ends + 1, self.until)

    def close_window(self, now: float) -> None:
        """End the window, now if its end is still to come."""
        self.until = max(self.start, min(self.until, now))
        self._second_ends = min(self._second_ends, self.until)
        self.end_seconds(now)

    @property
    def length(self) -> float:
        """The seconds of the window."""
        return self.until - self.start

    @property
    def throughput(self) -> float:
        """Good answers a second."""
        return self.good / self.length if self.length > 0 else 0.0

    def counts(self) -> dict[str, int]:
        """Return how many requests had each outcome."""
        return {name: histogram.count for name, histogram in sorted(self.outcomes.items())}

    def good_latencies(self) -> LatencyHistogram:
        """Return the latencies of good answers."""
        return self._join(name for name in self.outcomes if is_good(name))

    def latencies(self) -> LatencyHistogram:
        """Return the latencies of good answers, and of what waited in vain as long as it waited.

        Refusals are left out: a server that refuses quickly would seem quick.
        """
        return self._join(name for name in self.outcomes if is_good(name) or name in _IN_VAIN)

    def seconds_to_json(self) -> list[dict[str, float]]:
        """Return how each second went."""
        return [asdict(second) for second in self.seconds]

    def _join(self, names: Iterable[str]) -> LatencyHistogram:
        joined = LatencyHistogram()
        for name in names:
            joined.add(self.outcomes[name])
        return joined


def is_good(outcome: str) -> bool:
    """Say whether an outcome is an answer with 2xx."""
    return outcome[:1] == "2" and outcome.isdigit()


def _name_error(status: int, body: bytes) -> str:
    """Name the status, with the code of an error of ours."""
    try:
        said = orjson.loads(body)
    except ValueError:
        return str(status)
    code = said.get("code") if isinstance(said, dict) else None
    return f"{status} {code}" if isinstance(code, str) else str(status)
