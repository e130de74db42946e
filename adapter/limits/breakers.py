"""The breakers that a request meets, a model's and Triton's, and which failures each of them counts."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapter import errors
from adapter.limits.breaker import Breaker, BreakerCells
from adapter.workers import counters


class Probes:
    """The numbers of a request that goes through as a probe; 0 if a breaker is closed."""

    __slots__ = ("model", "triton")

    def __init__(self, model: int, triton: int) -> None:
        self.model = model
        self.triton = triton


NO_PROBES = Probes(0, 0)


class ModelBreakers:
    """The breakers of one model's requests: its own, and Triton's.

    A model that hangs is no reason to refuse another, so Triton's counts its connections alone.
    """

    def __init__(self, model: Breaker, triton: Breaker) -> None:
        self.model = model
        self.triton = triton

    def admit(self, seconds: float) -> Probes:
        """Let a request pass that takes at most so many seconds.

        Return the probes that it is, to be given to `succeeded` or `failed`, and to `release` at its end.

        Raises: BreakerOpen if calls failed lately.
        """
        if self.model.closed and self.triton.closed:
            return NO_PROBES
        triton = self.triton.admit(seconds)
        try:
            return Probes(self.model.admit(seconds), triton)
        except errors.BreakerOpen:
            if triton:
                self.triton.release(triton)
            raise

    def succeeded(self, now: float, probes: Probes = NO_PROBES) -> None:
        """Record a request that was answered."""
        self.model.succeeded(now, probes.model)
        self.triton.succeeded(now, probes.triton)

    def failed(self, error: errors.AdapterError, now: float, probes: Probes, own_deadline: bool) -> None:
        """Record an error if it is a fault of what is guarded.

        What the client sent, a full queue and a long one, a model that raised or answered nonsense are not; nor is the
        deadline that a client set for itself, which may be as short as it likes, or that passed while our own event
        loop stood still (`own_deadline`).
        """
        if isinstance(error, errors.UpstreamDown):
            self.triton.failed(now, probes.triton, connecting=True)
        elif isinstance(error, errors.ModelProcessDead) or (
            isinstance(error, errors.DeadlineExceeded) and not error.queued and not own_deadline
        ):
            self.model.failed(now, probes.model)
        elif isinstance(error, errors.ANSWERS):
            self.succeeded(now, probes)

    def release(self, probes: Probes) -> None:
        """End a request's probes, however it ended: what they did not settle, another may try."""
        if probes is NO_PROBES:
            return
        if probes.model:
            self.model.release(probes.model)
        if probes.triton:
            self.triton.release(probes.triton)


class Breakers:
    """Hold the breakers of every model, made when they are asked for, and Triton's own."""

    def __init__(
        self, boards: BreakerCells, worker: int = 0, longest: float = 30, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._boards = boards
        self._worker = worker
        self._longest = longest
        self._clock = clock
        self._breakers: dict[str, ModelBreakers] = {}
        self.triton = self._breaker(counters.ALL)

    def __getitem__(self, model: str) -> ModelBreakers:
        model_breakers = self._breakers.get(model)
        if model_breakers is None:
            model_breakers = self._breakers[model] = ModelBreakers(self._breaker(model), self.triton)
        return model_breakers

    def _breaker(self, name: str) -> Breaker:
        return Breaker(self._boards, name, self._worker, self._longest, self._clock)
