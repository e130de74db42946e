"""One model's ways to Triton, and the choice between them: idle and rush through the batcher, busy to the front.

idle  nothing else of this model is in flight: straight to `m_direct`, since no company comes.
busy  one by one to the front `m`, whose batcher (Triton's) waits up to `max_batch_delay_ms` for others.
rush  joined in the adapter without waiting, and sent to `m_direct` as few, full calls.

The choice is by measurement (docs/regimes.md): at no load that was tried did the batcher beat joining in the adapter,
which knows when the model is free. So a model is busy if the front has something to add: Triton's response cache.
"""

from __future__ import annotations

from collections.abc import Callable

from adapter import errors
from adapter.batching.batcher import Batcher
from adapter.batching.calls import ModelCalls
from adapter.batching.pack_batcher import PackedBatcher
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.errors import ANSWERS
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from adapter.workers.counters import EndpointName, WorkerCounters
from converter.schema.settings import REGIMES, RegimeName

# A regime is kept at least so long, unless the load grows.
HOLD_SECONDS = 1.0


class Regime:
    """The regime of one model in one worker.

    `cached` says that the front answers some requests without the model. `forced` is for measuring: that regime
    whatever the load.
    """

    def __init__(self, cached: bool = False, forced: RegimeName | None = None) -> None:
        self._kept: RegimeName | None = forced or ("busy" if cached else None)
        self._now: RegimeName = self._kept or "idle"
        self._since = 0.0

    @property
    def now(self) -> RegimeName:
        """The regime as it is shown."""
        return self._now

    def choose(self, others: float, now: float) -> RegimeName:
        """Return the way of a request that arrives while `others` of its model are in flight."""
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
        """Go back to idle if nothing else has been in flight for a while."""
        if others:
            return
        if self._kept is None and self._now != "idle" and now - self._since >= HOLD_SECONDS:
            self._change("idle", now)

    def _change(self, wanted: RegimeName, now: float) -> None:
        self._now = wanted
        self._since = now


class ModelRoute:
    """Choose each request's way: to the front, or through the batcher, which a packed model shares with its mates.

    `forced` is the regime of every request, or None for a choice by the load.
    """

    def __init__(
        self,
        model_calls: ModelCalls,
        batcher: Batcher | PackedBatcher,
        worker_counters: WorkerCounters,
        forced: RegimeName | None,
        clock: Callable[[], float],
    ) -> None:
        entry = self._entry = model_calls.entry
        self._model_calls = model_calls
        self._clock = clock
        # How many requests of this process are in here, and whether another version of the model took its place.
        self.active = 0
        self.left = False
        self._batcher = batcher
        # What goes straight to the model neither finds nor fills the front's response cache.
        self._regime = Regime(entry.spec.caching, forced) if entry.front else Regime()
        self._in_flight = worker_counters.cell(entry.name, counters.IN_FLIGHT)
        self._shown = worker_counters.cell(entry.name, counters.REGIME)
        self._front_answered = worker_counters.cell(entry.name, counters.FRONT_ANSWERED)
        self._changes = worker_counters.cell(entry.name, counters.REGIME_CHANGES)
        self._front_times = worker_counters.calls(entry.name, "front")

    async def infer(
        self, endpoint: EndpointName, features: Features, deadline: float, timings: RequestTimings
    ) -> list[Texts]:
        """Return the answer's rows, in one part, or in several for more rows than a call takes.

        Raises: AdapterError, which says what became of the request in place of an answer.
        """
        in_flight = self._in_flight
        # Those who are expected back at once count as there.
        others = in_flight.total() or self._batcher.expecting
        in_flight.add(1)
        self.active += 1
        try:
            way = timings.regime = self._choose(endpoint, others)
            rows, most = len(features[0]), self._entry.direct_max_rows
            if rows > most:
                return await self._in_parts(features, deadline, timings)
            if way == "busy" and self._entry.front is not None:
                return [await self._through_the_front(self._entry.front, features, deadline, timings)]
            return [await self._batcher.submit(features, deadline, timings, join=way == "rush")]
        finally:
            self.active -= 1
            in_flight.add(-1)

    def refresh(self) -> None:
        """Bring the shown regime up to date while nothing arrives."""
        # It goes back to idle alone: most are there, and adding up takes the longest.
        if self._regime.now != "idle":
            self._regime.settle(self._in_flight.total(), self._clock())
        self._show()

    def _choose(self, endpoint: EndpointName, others: float) -> RegimeName:
        """Return the way. /predict_batched alone goes to the front; all others are joined with what waits here too."""
        if endpoint != "predict_batched" or self._entry.front is None:
            return "rush" if others else "idle"
        chosen = self._regime.choose(others, self._clock())
        self._show()
        return chosen

    def _show(self) -> None:
        place = REGIMES.index(self._regime.now)
        if self._shown.mine != place:
            self._shown.set(place)
            self._changes.add(1)

    async def _in_parts(self, features: Features, deadline: float, timings: RequestTimings) -> list[Texts]:
        rows, most = len(features[0]), self._entry.direct_max_rows
        parts: list[Texts] = []
        for start in range(0, rows, most):
            part = tuple(values[start : start + most] for values in features)
            parts.append(await self._batcher.submit(part, deadline, timings))
        return parts

    async def _through_the_front(
        self, front: str, features: Features, deadline: float, timings: RequestTimings
    ) -> Texts:
        """Make one call for this request; Triton's batcher joins it with others."""
        started = self._clock()
        rows = [len(features[0])]
        try:
            (texts,) = await self._model_calls.infer(front, [features], rows, deadline, [timings], queued=True)
        except (errors.DeadlineExceeded, *ANSWERS) as error:
            # Where Triton says so, the front lives, though what it calls may not.
            self._front_answered.add(bool(error.inside))
            raise
        finally:
            timings.model = self._clock() - started
        self._front_answered.add(1)
        if isinstance(texts, errors.BadModelOutput):
            raise texts
        self._front_times.took(timings.model)
        return texts
