"""Put new versions of models in the place of the served ones, without a gap.

A new version is loaded under a trial name beside the served one, and asked made-up rows while nobody uses it. Then
requests go to it under that name; the models' own names, which native clients use too, are loaded anew, checked, and
the requests go back to them. At each step there is a whole version that answers, and each request keeps to the version
that it began with. The leading one of several workers does this, and a version goes when all of them have left it.

While a new version is only tried, the reconciler looks after the served one. From then until all is over it does not:
what it was loading is waited for first, and what dies from then on is replaced by the reload itself, or found by the
reconciler afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

from adapter import errors
from adapter.backend.error_mapping import load_reason
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.registry_sync import RegistrySync
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import TRIAL_MARK, Manifest, ModelEntry, entry_json

_log = logging.getLogger("schwift.adapter")

# Takes a line for the user who waits for the reload.
Say = Callable[[str], None]

_LOOK_SECONDS = 0.01
# Beyond one load: what else a recovery by the reconciler may take.
_RECOVERY_SECONDS = 30.0
# Beyond the deadline of requests: what a worker may need to hear of a reload.
_ADOPT_SECONDS = 5.0


@dataclass(eq=False)
class Reloader:
    """Puts new versions in the place of served ones, in the worker that leads: `stage`, `switch`, `commit`.

    `_answer_timeout` is that of one request, in seconds; `_table` has what each worker has adopted.
    """

    _registry_sync: RegistrySync
    _loader: ModelLoader
    _table: SharedTable
    _answer_timeout: float
    _clock: Callable[[], float] = time.monotonic
    # Names of models that the reconciler leaves alone for us.
    _ours: set[str] = field(default_factory=set, init=False)
    # Entries that requests were led away from, whose Triton models may be loaded still.
    _replaced: list[ModelEntry] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._registry = self._registry_sync.registry

    def served(self) -> dict[str, int]:
        """Return the number of the version of each served model, by the model's name."""
        return {name: model.entry.version for name, model in self._registry.models.items()}

    def failed(self) -> list[str]:
        """Return the models that are given up: with nothing changed, a reload is how they are tried again."""
        return [
            name
            for name, model in self._registry.models.items()
            if model.status.state == "failed" or self._has_failed(model.entry.host)
        ]

    @property
    def on_trial(self) -> bool:
        """Whether requests go to trial names: a reload was cut off in between."""
        return any(TRIAL_MARK in model.entry.direct for model in self._registry.models.values())

    async def stage(self, entries: Sequence[ModelEntry], suffix: str, say: Say) -> None:
        """Load these entries under their trial names and try them; `say` takes lines for the user.

        On return the reconciler leaves these models alone, until `commit` or `release`.

        Raises: ReloadFailed, and then all of them are unloaded again.
        """
        new = [entry for entry in entries if entry.name not in self._registry.models]
        if len(new) > self._registry.room:
            raise errors.ReloadFailed(
                f"{len(new)} models are new, and there is room for {self._registry.room}: start the server anew"
            )
        try:
            for entry in entries:
                model = self._registry.models.get(entry.name)
                served = model.entry if model is not None and model.ready else None
                await self._load(self._put_on_trial(entry, suffix), served, say)
            await self._take_turn({entry.name for entry in entries}, say)
        except BaseException:
            await self.give_up(entries, suffix)
            raise

    async def give_up(self, entries: Sequence[ModelEntry], suffix: str) -> None:
        """Unload the trial names of these entries."""
        for entry in entries:
            await self._loader.unload(self._put_on_trial(entry, suffix), force=True)

    def _put_on_trial(self, entry: ModelEntry, suffix: str) -> ModelEntry:
        """Return what is tried of an entry: a process of its own for a model whose pack is not served now."""
        trial = entry.on_trial(suffix)
        served = entry.host is None or (self._loader.packs.has_host(entry) and not self._has_failed(entry.host))
        return trial if served else trial.moved_out()

    def _has_failed(self, host: str | None) -> bool:
        """Return whether a host is given up."""
        found = None if host is None else self._registry.hosts.get(host)
        return found is not None and found.status.state == "failed"

    def release(self) -> None:
        """Leave the models to the reconciler again."""
        self._loader.taken -= self._ours
        self._ours = set()

    async def switch(self, entries: Sequence[ModelEntry], suffix: str, manifest: Manifest) -> None:
        """Send requests to the trial names; on return no request is with the versions before.

        Models that `manifest` has no more are gone at once, as they are for Triton.
        """
        removed = [name for name in self._registry.models if manifest.model(name) is None]
        await self._replace([self._put_on_trial(entry, suffix) for entry in entries], removed)

    async def commit(self, manifest: Manifest, say: Say) -> None:
        """Serve what the repository on the disk holds, under its own names, and leave all to the reconciler again.

        Raises: ReloadFailed, and then requests go on where they are.
        """
        try:
            await self._settle(manifest, say)
        finally:
            self.release()

    async def _settle(self, manifest: Manifest, say: Say) -> None:
        before = {name: model.entry for name, model in self._registry.models.items()}
        changed = [
            entry for entry in manifest.models if entry.name not in before or not _is_served(before[entry.name], entry)
        ]
        hosts = [
            host
            for host in manifest.hosts
            if self._registry.host_entry(host.direct) != host or self._has_failed(host.direct)
        ]
        removed = [name for name in before if manifest.model(name) is None]
        gone = [host.entry for name, host in self._registry.hosts.items() if manifest.host(name) is None]
        names = {entry.name for entry in [*hosts, *gone, *changed, *self._replaced]}
        await self._take_turn(names | set(removed), say)
        for host in hosts:
            await self._load(host, None, say)
            self._registry.put_host(host)
        for entry in changed:
            await self._load(entry, before.get(entry.name), say)
        await self._replace(changed, removed)
        left, self._replaced = self._replaced, []
        for host in gone:
            self._registry.drop_host(host.direct)
        served = [model.entry for model in self._registry.all.values()]
        used = {name for entry in served for name in (*entry.triton_models, entry.member)}
        for entry in [*left, *gone]:
            await self._loader.unload(entry, used, force=True)
        for name in sorted({entry.name for entry in left} - self._registry.models.keys()):
            say(f"{name}: served no more")

    async def _take_turn(self, names: Set[str], say: Say) -> None:
        """Wait until the reconciler is done with these models, or raise ReloadFailed, and keep it from them."""
        names = names - self._ours
        ends = self._clock() + self._loader.timeout + _RECOVERY_SECONDS
        told = False
        while busy := sorted(names & self._loader.taken):
            if self._clock() > ends:
                raise errors.ReloadFailed(f"{busy[0]}: the server is still loading what it serves now: try again later")
            if not told:
                say(f"{busy[0]}: waiting, since the server is loading what it serves now")
                told = True
            await asyncio.sleep(_LOOK_SECONDS)
        self._loader.taken |= names
        self._ours |= names

    async def _load(self, entry: ModelEntry, served: ModelEntry | None, say: Say) -> None:
        """Load the Triton models of an entry and try them; raise ReloadFailed with the reason if they do not serve."""
        try:
            seconds = await self._loader.load(entry)
        except errors.ModelUnavailable as error:
            _log.error("model %s did not load: %s", entry.name, error.inside)
            reason = load_reason(error.inside)
            raise errors.ReloadFailed(f"{entry.name}: the new version does not load: {reason}") from error
        except errors.UpstreamDown as error:
            raise errors.ReloadFailed(f"{entry.name}: {error.detail}") from error
        try:
            note = await self._loader.smoke_test.check_version(entry, served)
        except errors.SmokeTestFailed as error:
            raise errors.ReloadFailed(f"{entry.name}: {error}") from error
        on_trial = " on trial" if TRIAL_MARK in entry.direct else ""
        result = f"; {note}" if note else ", and answers" if entry.spec.warmup else ""
        say(f"{entry.name}: version {entry.version} loaded{on_trial} in {seconds:.1f} s{result}")

    async def _replace(self, entries: Sequence[ModelEntry], removed: Sequence[str]) -> None:
        """Serve these entries and the removed names no more; wait until every worker has left what was there before.

        A worker that takes longer than a request may is logged, and not waited for.
        """
        if not entries and not removed:
            return
        names = [*removed, *(entry.name for entry in entries)]
        models = self._registry.models
        self._replaced += [models[name].entry for name in names if name in models]
        self._registry.replace(entries, removed)
        self._registry_sync.publish()
        ends = self._clock() + self._answer_timeout + _ADOPT_SECONDS
        cells = [row[counters.ADOPTED : counters.ADOPTED + 1] for row in self._table.rows(counters.ALL)]
        while any(cell[0] < self._registry.generation for cell in cells):
            if self._clock() > ends:
                # It hangs, or has requests past their deadline: neither keeps the new version waiting.
                _log.warning("a worker has not left the version before, and is not waited for")
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _is_served(before: ModelEntry, entry: ModelEntry) -> bool:
    """Return whether a served entry is this one, or this one as it is served since it was moved out of its pack."""
    alone = entry if entry.host is None or before.host is not None else entry.moved_out()
    return entry_json(before) == entry_json(alone)
