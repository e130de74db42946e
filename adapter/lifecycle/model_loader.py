"""Load and unload the Triton models of a served model, for the reconciler and for a reload."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from adapter import errors
from adapter.backend.protocol import InferenceBackend
from adapter.lifecycle.packs.pack_control import PackControl
from adapter.lifecycle.reaper import Reaper
from adapter.lifecycle.smoke_test import SmokeTest
from adapter.lifecycle.stub_processes import SupervisorPipe
from converter.schema.manifest import ModelEntry

_UNLOAD_SECONDS = 5.0


@dataclass(eq=False)
class ModelLoader:
    """Loads and unloads all Triton models of an entry, and has the processes ended that outlive that.

    `smoke_test` is for what was loaded. `timeout` is that of one load, in seconds. `_supervisor` ends processes, if
    Triton runs below `schwift serve`.

    Whoever loads or unloads a served model has its name in `taken` meanwhile. The reconciler and a reload that puts
    another version in its place would otherwise take from each other what they have just loaded; and between the switch
    on the disk and that of the requests, the reconciler would bring the new version under the old one's contract.
    """

    backend: InferenceBackend
    reaper: Reaper
    smoke_test: SmokeTest
    timeout: float
    _supervisor: SupervisorPipe | None = None
    _clock: Callable[[], float] = time.monotonic
    taken: set[str] = field(default_factory=set, init=False)

    @property
    def packs(self) -> PackControl:
        """What packed models are loaded by."""
        return self.smoke_test.packs

    async def load(self, entry: ModelEntry) -> float:
        """Load an entry's Triton models, the model before the front that calls it; return the seconds that it took.

        A packed model is loaded by its host, which is there.

        Raises: ModelUnavailable if one does not load, UpstreamDown if Triton does not answer.
        """
        started = self._clock()
        if entry.host is not None:
            await self.packs.load(entry, self.timeout)
            for name in entry.triton_models:
                await self.backend.load(name, self.timeout)
            return self._clock() - started
        before = await self.reaper.processes(entry)
        started = self._clock()
        for name in entry.triton_models:
            await self.backend.load(name, self.timeout)
        seconds = self._clock() - started
        # What was there under these names before Triton unloads by itself.
        self.reaper.unloaded(before.without(await self.reaper.processes(entry)), orderly=True)
        return seconds

    async def unload(
        self, entry: ModelEntry, used: Collection[str] = (), *, orderly: bool = True, force: bool = False
    ) -> None:
        """Unload an entry's Triton models, the front first, but for those that are `used` on.

        `orderly`: as far as is known, none of their processes died. `force` has the processes of a Triton model killed
        that does not let itself be unloaded, since it hangs in its load or in a call, and goes on.

        Raises: UpstreamDown if Triton does not answer, without `force`.
        """
        if entry.host is not None and entry.member not in used:
            await self.packs.evict(entry)
        if not entry.triton_models:
            return
        processes = await self.reaper.processes(entry, used)
        for name in reversed(entry.triton_models):
            if name in used:
                continue
            try:
                await self.backend.unload(name, _UNLOAD_SECONDS)
            except errors.UpstreamDown:
                if not force:
                    raise
                if self._supervisor is not None:
                    self._supervisor.kill(name)
        self.reaper.unloaded(processes, orderly)
