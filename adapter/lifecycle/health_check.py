"""Whether a model that Triton calls ready is well: no process gone, an answer now and then, not too large."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple

from adapter.lifecycle.liveness import ModelLiveness
from adapter.lifecycle.served_model import Model
from adapter.lifecycle.stub_processes import StubProcesses

_MEASURE_SECONDS = 10.0
# The kernel takes about a millisecond to count the pages of a process, and a model has three: with many models they are
# measured less often.
_A_MODEL_SECONDS = 0.5

# Why a model is loaded again: counters.RECOVERY_REASONS.
Reason = Literal["died", "hung", "memory"]


class Trouble(NamedTuple):
    """What is wrong with a model; `hung` are those of its Triton models that do not answer."""

    reason: Reason
    hung: tuple[str, ...] = ()


class HealthCheck:
    """Finds models that Triton calls ready and that are not well, and measures how much memory they hold.

    `stubs` is None if Triton runs elsewhere than on this machine: no process is seen then, or missed.
    """

    def __init__(
        self, liveness: ModelLiveness, stubs: StubProcesses | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.liveness = liveness
        self._stubs = stubs
        self._clock = clock
        self._measured = -_MEASURE_SECONDS

    async def check(self, model: Model) -> Trouble | None:
        """Return what is wrong with a model, None if nothing is; a liveness probe is sent if one is due."""
        if hung := await self.liveness.find_hung(model):
            return Trouble("hung", tuple(hung))
        if await self._misses_process(model):
            return Trouble("died")
        return Trouble("memory") if model.over_memory else None

    async def _misses_process(self, model: Model) -> bool:
        """Return whether a process of a model is gone, which is seen here before anybody asks the model."""
        entry, stubs = model.entry, self._stubs
        if stubs is None:
            return False
        # One that died just before they were looked for is not among them. A C++ backend has none.
        some = any(0 < len(stubs.of([name])) < entry.instances_of(name) for name in entry.triton_models)
        if not some and stubs.all_alive(entry.triton_models):
            return False
        # They may have been replaced in good order.
        await asyncio.to_thread(stubs.scan)
        # If Triton itself is gone, its models have not died one by one.
        return stubs.there and any(len(stubs.of([name])) < entry.instances_of(name) for name in entry.triton_models)

    async def measure(self, models: Mapping[str, Model], loading: Collection[str]) -> None:
        """Note how many bytes the models' processes hold, every ten seconds at most.

        Not of `loading` ones, which are those whose processes come or go, now or by the time that they are measured.
        """
        now = self._clock()
        pause = max(_MEASURE_SECONDS, _A_MODEL_SECONDS * len(models))
        if self._stubs is None or now - self._measured < pause:
            return
        self._measured = now
        measured = dict(models)
        groups = {name: model.entry.triton_models for name, model in measured.items() if name not in loading}
        for name, size in (await asyncio.to_thread(self._stubs.measure, groups)).items():
            if name not in loading:
                measured[name].note_memory(size)

    async def measure_loaded(self, model: Model, again: bool) -> None:
        """Note how many bytes a model holds that was just loaded; 0 if `again`: its old process may be there still."""
        if self._stubs is not None:
            sizes = await asyncio.to_thread(self._stubs.measure, {"": model.entry.triton_models})
            model.note_memory(0 if again else sizes[""])
