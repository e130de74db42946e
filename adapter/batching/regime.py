"""Which way the rows of /predict_batched take: the three regimes of a model, and when it changes between them.

idle  nothing else of this model is in flight: straight to `m_direct`, since no company comes.
busy  one by one to the front `m`, whose batcher (Triton's) waits up to `max_batch_delay_ms` for others.
rush  joined in the adapter without waiting, and sent to `m_direct` as few, full calls.

The choice is by measurement (docs/regimes.md): at no load that was tried did the batcher beat joining in the adapter,
which knows when the model is free. So a model is busy where the front has something to add: Triton's response cache.
"""

from __future__ import annotations

from converter.schema.settings import RegimeName

# A regime is kept at least so long, unless the load grows.
_HOLD_SECONDS = 1.0


class Regime:
    """The state of one model in one worker.

    `cached` says that the front answers some requests without the model. `forced` is for measuring: that regime
    whatever the load.
    """

    def __init__(self, cached: bool = False, forced: RegimeName | None = None) -> None:
        self._kept: RegimeName | None = forced or ("busy" if cached else None)
        self._now: RegimeName = self._kept or "idle"
        self._since = 0.0

    @property
    def now(self) -> RegimeName:
        return self._now

    def choose(self, others: float, now: float) -> RegimeName:
        """The way of a request that arrives while `others` of its model are in flight."""
        if self._kept is not None:
            return self._kept
        if others:
            if self._now == "idle":
                self._change("rush", now)
            return "rush"
        # Alone is alone, whatever the regime was a moment ago.
        self.settle(0, now)
        return "idle"

    def settle(self, others: float, now: float) -> None:
        """Back to idle, once nothing else has been in flight for a while."""
        if others:
            return
        if self._kept is None and self._now != "idle" and now - self._since >= _HOLD_SECONDS:
            self._change("idle", now)

    def _change(self, wanted: RegimeName, now: float) -> None:
        self._now = wanted
        self._since = now
