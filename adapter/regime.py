"""Which way the rows of /predict_batched take: the three regimes of a model, and when it changes between them.

idle  nothing else of this model is in flight: straight to `m_direct`, since no company comes.
busy  one by one to the front `m`, whose batcher (Triton's) waits up to `max_batch_delay_ms` for others.
rush  joined in the adapter without waiting, and sent to `m_direct` as few, full calls.

The thresholds are measured (docs/regimes.md): the batcher's wait is worth it only where it is short beside the
model's own time, and only while the requests are so few that passing each on alone costs little.
"""

from __future__ import annotations

from typing import Literal

RegimeName = Literal["idle", "busy", "rush"]
REGIMES: tuple[RegimeName, ...] = ("idle", "busy", "rush")

# The batcher's wait as a part of the time of a call: busy from the first on, no longer over the second.
_WORTH_WAITING = 0.15
_NOT_WORTH_WAITING = 0.25
# Other requests in flight, as a running mean: rush from the first on, again busy below the second.
_CROWD = 16.0
_NO_CROWD = 8.0
# How much the newest request counts in that mean.
_WEIGHT = 0.05
# A regime is kept at least so long, unless the load grows.
_HOLD_SECONDS = 1.0


class Regime:
    """The state of one model in one worker. `forced` is for measuring: that regime whatever the load."""

    def __init__(self, delay_seconds: float, forced: RegimeName | None = None) -> None:
        self._delay = delay_seconds
        self._forced = forced
        self._now: RegimeName = forced or "idle"
        self._since = 0.0
        self._others = 0.0
        self._waits = False

    @property
    def now(self) -> RegimeName:
        return self._now

    def choose(self, others: float, call_seconds: float, now: float) -> RegimeName:
        """The way of a request that arrives while `others` of its model are in flight and a call takes so long."""
        if self._forced is not None:
            return self._forced
        self._others += _WEIGHT * (others - self._others)
        self._waits = self._delay <= (_NOT_WORTH_WAITING if self._waits else _WORTH_WAITING) * call_seconds
        wanted: RegimeName = "idle" if others == 0 else "busy" if self._waits and not self._crowded() else "rush"
        if wanted != self._now:
            self._change(wanted, now)
        # Alone is alone, whatever the regime was a moment ago.
        return wanted if wanted == "idle" else self._now

    def settle(self, others: float, now: float) -> None:
        """Nothing arrived for a while: back to idle, for whoever looks."""
        if self._forced is None and others == 0 and self._now != "idle":
            self._change("idle", now)

    def _crowded(self) -> bool:
        return self._others >= (_NO_CROWD if self._now == "rush" else _CROWD)

    def _change(self, wanted: RegimeName, now: float) -> None:
        grows = REGIMES.index(wanted) > REGIMES.index(self._now)
        if not grows and now - self._since < _HOLD_SECONDS:
            return
        self._now = wanted
        self._since = now
