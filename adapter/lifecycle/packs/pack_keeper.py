"""Looks after packs for the reconciler: who is to blame for a host's end, and how a model is moved out of its pack."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from adapter import errors
from adapter.backend.error_mapping import load_reason
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.packs.host_notes import HostNotes
from adapter.lifecycle.packs.packed_model import PackedModel
from adapter.lifecycle.packs.strikes import MOST_STRIKES, Strikes
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from converter.schema.wire import ALONE_FILE

_log = logging.getLogger("schwift.adapter")

# Why a model has a process of its own, as /health says it.
_REASONS = {
    "died": "its pack died or hung in it, {most} times: it has a process of its own until it is reloaded",
    "slow": "it is far slower than its pack mates: it has a process of its own until it is reloaded",
    "memory": "it holds more than its max_memory_mb: it has a process of its own until it is reloaded",
}
_KEPT = "it harms its pack and cannot be moved out of it: {why}"
_MEASURE_SECONDS = 10.0


@dataclass(eq=False)
class PackKeeper:
    """Finds models that harm their packs, and moves them out. `_repository` is where their other configs are."""

    _registry: Registry
    loader: ModelLoader
    _strikes: Strikes
    _notes: HostNotes
    _repository: Path
    # Models that are to be moved out, and why.
    due: dict[str, str] = field(default_factory=dict, init=False)
    # Those that could not be, and are not tried again as they are, with what /health says of it.
    _kept: dict[str, str] = field(default_factory=dict, init=False)
    # What was asked and in no process's memory at the last look, by what hosts know it by.
    _absent: set[str] = field(default_factory=set, init=False)
    # When the models of each host were measured.
    _measured: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._registry.watch(lambda name, _: self._forget(name))

    def _forget(self, name: str) -> None:
        """Drop what is known of a model: another one is served under its name now."""
        self._strikes.clear(name)
        self.due.pop(name, None)
        self._kept.pop(name, None)

    def blame(self, host: Model, hung: Collection[int] = ()) -> bool:
        """Count a strike for each model that a host was in when it died; `hung` are processes that do not answer.

        Return whether there are such, all of which can be moved out.
        """
        keys, guilty = self._notes.take_culprits(hung), []
        for model in self._registry.members(host):
            # A version on trial is of the same name.
            if any(key.startswith(f"{model.entry.alone}/") for key in keys):
                _log.warning("model %s: its pack %s was in it when it ended", model.entry.name, host.entry.name)
                guilty.append(model.entry.name)
                if self._strikes.strike(model.entry.name):
                    self.due[model.entry.name] = "died"
        return bool(guilty) and not any(name in self._kept for name in guilty)

    async def look(self, host: Model, now: float) -> list[PackedModel]:
        """Measure a host's models once in a while, and find those that are too slow or too large.

        Return those that are ready and in the memory of no process, if nobody asks them, or at the second look in a
        row: the pack had no room for them, its processes are new, or they do not load there.
        """
        for name in self._strikes.find_slow(host.entry.direct):
            self.due.setdefault(name, "slow")
        if now - self._measured.get(host.entry.direct, float("-inf")) < _MEASURE_SECONDS:
            return []
        self._measured[host.entry.direct] = now
        members = self._registry.members(host)
        for model in members:
            # Whoever asks from now on has it loaded.
            model.idle_clock.idle_seconds(now)
        try:
            sizes, whole = await self.loader.packs.describe(host.entry)
        except errors.AdapterError:
            return []
        asleep = []
        for model in members:
            model.memory.set(sizes.get(model.entry.member, 0))
            if model.over_memory:
                self.due.setdefault(model.entry.name, "memory")
            if not whole or model.entry.member in sizes or not model.status.ready:
                self._absent.discard(model.entry.member)
            elif model.entry.member in self._absent or not model.idle_clock.was_asked():
                asleep.append(model)
            else:
                self._absent.add(model.entry.member)
        return asleep

    def is_due(self, model: PackedModel) -> bool:
        """Return whether a model is to be moved out now."""
        return model.entry.name in self.due and model.entry.name not in self._kept

    def why_kept(self, name: str) -> str | None:
        """Return why a model is still in its pack that was to be moved out; None of any other one."""
        return self._kept.get(name)

    async def move_out(self, model: PackedModel) -> None:
        """Serve a model by a process of its own; its mates keep theirs.

        If that fails, it stays where it is, and its state says so.
        """
        name, reason = model.entry.name, self.due.pop(model.entry.name)
        alone = model.entry.moved_out()
        try:
            await self.loader.load(alone)
            await self.loader.smoke_test.check_model(alone)
            for ensemble in model.entry.triton_models:
                await self._lead_elsewhere(ensemble, alone.version)
        except (errors.AdapterError, errors.SmokeTestFailed, OSError) as error:
            inside = error.inside if isinstance(error, errors.AdapterError) else ""
            _log.error("model %s could not be moved out of its pack: %s", name, inside or error)
            why = self._kept[name] = _KEPT.format(why=_say_why(error))
            await self.loader.unload(alone, force=True)
            if model.status.ready:
                model.status.become("ready", why)
            return
        said = _REASONS[reason].format(most=MOST_STRIKES)
        _log.warning("model %s is moved out of its pack: %s", name, said)
        self._registry.move_out(alone, said)
        await self.loader.packs.evict(model.entry)

    async def _lead_elsewhere(self, ensemble: str, version: int) -> None:
        """Have an ensemble lead to the process of the model's own; if it cannot, it is not served any more."""
        path = self._repository / ensemble / str(version) / ALONE_FILE
        try:
            config = await asyncio.to_thread(path.read_text, encoding="utf-8")
        except FileNotFoundError:
            await self.loader.backend.unload(ensemble, self.loader.timeout)
        else:
            await self.loader.backend.load(ensemble, self.loader.timeout, config)


def _say_why(error: Exception) -> str:
    """Return a reason for everybody's eyes."""
    if isinstance(error, errors.ModelUnavailable):
        return load_reason(error.inside)
    if isinstance(error, errors.AdapterError):
        return error.detail
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
