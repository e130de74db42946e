"""Keep the models of the manifest loaded and answering: whenever Triton is there and one is not, load it.

One pass looks at Triton's index and at what the probes found, and begins what is to be done; it does not wait for that,
so that a model which takes long to load keeps nobody from noticing another. A model whose load fails stays `failed`
with the reason; one that was ready and is gone (Triton restarted) is loaded again, and one whose process died or hangs
is unloaded and loaded. One that is asleep is loaded when a request waits for it. One of several workers leads, and does
this; the others take over what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from adapter import errors
from adapter.backend.error_mapping import load_reason
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.lifecycle.health_check import HealthCheck, Trouble
from adapter.lifecycle.packs.pack_keeper import PackKeeper
from adapter.lifecycle.packs.packed_model import PackedModel
from adapter.lifecycle.recovery import Recovery
from adapter.lifecycle.registry_sync import RegistrySync
from adapter.lifecycle.served_model import Model
from adapter.limits.breakers import Breakers
from converter.schema.manifest import ModelEntry

_log = logging.getLogger("schwift.adapter")

_CALL_SECONDS = 5.0
_PASS_SECONDS = 1.0
# While nobody has asked for a while: who asks a model whose process has died meanwhile finds that out.
_QUIET_PASS_SECONDS, _QUIET_SECONDS = 2.0, 10.0
_START_SECONDS = 0.1
# Between two looks at whether a request waits for a model that is asleep.
_WAKE_SECONDS = 0.05
# Loads at a time: each start is mostly one core's work.
_LOADS = 2


@dataclass(eq=False)
class Reconciler:
    """Loads what is not loaded, in the worker that leads; in the others, follows what that worker says.

    `run` is a task of the adapter's. `_awake` tells whether the event loop has stood still: answers that we were too
    late for prove nothing.
    """

    _registry_sync: RegistrySync
    _packs: PackKeeper
    _health: HealthCheck
    _recovery: Recovery
    _breakers: Breakers
    _awake: AwakeClock

    def __post_init__(self) -> None:
        self._registry, self._loader = self._registry_sync.registry, self._packs.loader
        self._registry.watch(lambda name, _: self._recovery.clear(name))
        self._registry.watch_hosts(self._recovery.clear)
        self._registry.watch_states(self._wake_for_a_pack)
        # The death of a host is that of many models, and does not wait for the next pass.
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(_LOADS)
        # What is being loaded, by the model's name.
        self._work: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Reconcile, or catch up with the worker that does, until cancelled; a pass that fails is logged."""
        try:
            while True:
                leads = self._registry_sync.try_lead()
                try:
                    if leads:
                        await self.reconcile()
                    else:
                        self._registry_sync.catch_up()
                except Exception:
                    # The reconciler must outlive whatever one pass meets.
                    _log.exception("the reconciler's pass failed")
                await self._rest(leads and self._registry.triton_up)
        finally:
            self._end()

    def _wake_for_a_pack(self) -> None:
        hosts = self._registry.hosts.values()
        if any(host.dead and host.entry.name not in self._loader.taken for host in hosts):
            self._woken.set()

    async def reconcile(self) -> None:
        """Make one pass in the worker that leads: read Triton's states, and begin to load what is not there."""
        self._registry_sync.lead()
        try:
            await self._look()
        finally:
            self._registry_sync.publish()

    def wake(self) -> bool:
        """Begin to load the sleeping models for which requests wait; return whether any model sleeps."""
        sleeping = [model for model in self._registry.models.values() if model.sleeps]
        for model in sleeping:
            if model.wanted.total() and self._may_load(model):
                self._begin(model, self._load(model))
        return bool(sleeping)

    def choose_pause(self) -> float:
        """Return the seconds until the next pass: more if all models are settled and nobody has asked for a while.

        That somebody has asked since the last look is noted by it.
        """
        now, models = self._awake.clock(), self._registry.models.values()
        # Not those that sleep: it would be forgotten that somebody asked them.
        quiet = [model.idle_clock.idle_seconds(now) >= _QUIET_SECONDS for model in models if model.status.ready]
        settled = all(model.status.state in ("ready", "asleep", "failed") for model in models)
        return _QUIET_PASS_SECONDS if settled and all(quiet) and not self._work else _PASS_SECONDS

    async def wait_idle(self) -> None:
        """Wait for the loads that the passes have begun."""
        while self._work:
            # Not gather, which from Python 3.12 on returns at once if all are done, before their callbacks ran.
            await asyncio.wait(self._work.values())

    async def _rest(self, wakes: bool) -> None:
        """Wait for the next pass, and meanwhile wake whom requests wait for, in the worker that does."""
        left = self.choose_pause() if wakes else _START_SECONDS
        while left > _WAKE_SECONDS / 2 and not self._woken.is_set():
            pause = _WAKE_SECONDS if wakes and self.wake() else left
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)
            left -= pause
        self._woken.clear()

    async def _look(self) -> None:
        # Before the states are asked for: what is loaded or reloaded meanwhile is newer than they are.
        models = [model for name, model in self._registry.all.items() if name not in self._loader.taken]
        asked = self._awake.clock()
        try:
            states = await self._loader.backend.states(_CALL_SECONDS)
        except errors.UpstreamDown:
            if self._awake.slept_since(asked):
                return
            self._registry.triton_up = False
            for model in self._registry.all.values():
                if model.status.ready:
                    self._set_unavailable(model, "the inference server does not answer")
            return
        if not self._registry.triton_up:
            # It is there again: no request has to find that out.
            self._breakers.triton.reset()
        self._registry.triton_up = True
        for model in models:
            if not self._may_load(model):
                continue
            if isinstance(model, PackedModel):
                self._look_at_packed(model, states)
                continue
            entry = model.entry
            gone = [name for name in entry.triton_models if states.get(f"{name}/{entry.version}") != "READY"]
            if model.sleeps:
                self._look_at_sleeper(model, gone)
                continue
            if gone and model.dead:
                # Whoever died did so with Triton.
                self._registry.begin_incarnation(model)
            if model.dead:
                self._recover(model, Trouble("died"))
            elif not gone:
                self._set_ready(model)
                await self._check(model)
                self._unload_idle(model)
            elif model.status.state != "failed":
                if model.ready:
                    self._set_unavailable(model, f"{gone[0]} is not loaded")
                self._begin(model, self._load(model))
        self._loader.reaper.end_due()
        for host in list(self._registry.hosts.values()):
            if host.ready:
                for member in await self._packs.look(host, self._awake.clock()):
                    self._fall_asleep(member, "its pack does not hold it any more")
        isolated = {name: model for name, model in self._registry.all.items() if not isinstance(model, PackedModel)}
        await self._health.measure(isolated, self._work)

    def _look_at_packed(self, model: PackedModel, states: Mapping[str, str]) -> None:
        """Have a packed model be what its host is, and load what is not there of it."""
        status, host, entry = model.status, model.host, model.entry
        if not host.ready:
            why = f"its pack {host.entry.name} is {host.status.state}"
            if host.status.state == "failed":
                why += f": {host.status.reason}"
            if status.ready:
                self._set_unavailable(model, why)
            elif status.state == "unavailable":
                status.become("unavailable", why)
            return
        # Whoever led before has proven it.
        model.proven = model.proven or status.ready
        gone = [name for name in entry.triton_models if states.get(f"{name}/{entry.version}") != "READY"]
        if status.asleep:
            if model.idle_clock.was_asked():
                self._begin(model, self._load(model))
        elif self._packs.is_due(model):
            self._begin(model, self._move_out(model))
        elif model.proven and not gone:
            if not status.ready:
                self._breakers[entry.name].model.reset()
            self._set_ready(model)
            self._unload_idle(model)
        elif status.state != "failed":
            if status.ready:
                self._set_unavailable(model, f"{gone[0]} is not loaded")
            self._begin(model, self._load(model))

    async def _move_out(self, model: PackedModel) -> None:
        await self._packs.move_out(model)
        moved = self._registry.models.get(model.entry.name)
        if moved is not None and moved.entry.is_moved_out:
            await self._health.measure_loaded(moved, again=False)

    def _may_load(self, model: Model) -> bool:
        return self._serves(model) and model.entry.name not in self._loader.taken

    def _serves(self, model: Model) -> bool:
        """Return whether a model is served still: a reload may have replaced it meanwhile."""
        entry = model.entry
        return model in (self._registry.models.get(entry.name), self._registry.hosts.get(entry.direct))

    async def _check(self, model: Model) -> None:
        trouble = await self._health.check(model)
        if trouble is None or not self._may_load(model):
            return
        if trouble.reason == "died":
            model.report_dead(model.incarnation, "a missing process")
        self._recover(model, trouble)

    def _look_at_sleeper(self, model: Model, gone: Collection[str]) -> None:
        if model.wanted.total():
            self._begin(model, self._load(model))
        elif len(gone) < len(model.entry.triton_models):
            # Triton did not answer when it fell asleep, or somebody else loaded it.
            self._begin(model, self._put_to_sleep(model))

    def _unload_idle(self, model: Model) -> None:
        most = model.entry.spec.idle_unload
        if most is not None and model.idle_clock.idle_seconds(self._awake.clock()) >= most:
            self._fall_asleep(model, f"nobody has asked it for {most:g} s")

    def _fall_asleep(self, model: Model, why: str) -> None:
        if self._may_load(model):
            _log.info("model %s falls asleep: %s", model.entry.name, why)
            self._begin(model, self._put_to_sleep(model))

    async def _put_to_sleep(self, model: Model, load_seconds: float | None = None, note: str | None = None) -> None:
        """Unload a model; who asks for it from now on has it woken. A packed one's ensembles stay as they are."""
        model.idle_clock.restart(self._awake.clock())
        # The other workers hear of it first; what is sent before they do is sent again.
        model.status.become("asleep", note or model.status.reason, load_seconds)
        with contextlib.suppress(errors.UpstreamDown):
            # Otherwise the next pass sees what is left.
            await self._loader.unload(model.entry.without_ensembles())
            self._registry.begin_incarnation(model)
            model.memory.set(0)

    def _begin(self, model: Model, work: Coroutine[Any, Any, None]) -> None:
        name = model.entry.name
        self._loader.taken.add(name)
        self._health.liveness.unwatch(model)
        task = self._work[name] = asyncio.create_task(work, name=f"load {name}")
        task.add_done_callback(lambda _: self._done(name))

    def _done(self, name: str) -> None:
        self._work.pop(name, None)
        self._loader.taken.discard(name)

    def _recover(self, model: Model, trouble: Trouble) -> None:
        wait = self._recovery.wait(model, trouble.reason, self._awake.clock())
        model.recoveries[trouble.reason].add(1)
        model.memory.set(0)
        self._begin(model, self._load_anew(model, trouble, wait))

    async def _load_anew(self, model: Model, trouble: Trouble, wait: float | None) -> None:
        """Unload a model, end what hangs of it, and load it again after `wait` seconds; never, if that is None."""
        self._recovery.mark(model, trouble.reason, wait)
        _log.warning("model %s: %s", model.entry.name, model.status.reason)
        await self._recovery.scan()
        is_host = model.entry.direct in self._registry.hosts
        if is_host and self._packs.blame(model, self._recovery.processes(trouble.hung)):
            # Whose fault it is, is moved out, and its mates are not left failed for it.
            wait = self._recovery.forgive(model, trouble.reason, wait)
        names = trouble.hung or (self._recovery.outliving_death(model) if trouble.reason == "died" else ())
        if self._recovery.can_end(names):
            # Before they are, since Triton may end over it, and never answers some of their calls.
            self._registry.abandon_calls(model)
        try:
            await self._recovery.end(model, names)
            await self._loader.unload(model.entry, orderly=trouble.reason == "memory")
        except errors.UpstreamDown as error:
            self._set_unavailable(model, error.detail)
            return
        self._registry.begin_incarnation(model)
        if wait is None:
            return
        await asyncio.sleep(wait)
        await self._load(model)

    async def _load(self, model: Model) -> None:
        async with self._slots:
            state = model.status.state
            proves = state in ("waiting", "loading") and model.entry.spec.load == "lazy"
            entry = model.entry.without_ensembles() if proves else model.entry
            # Who waits for a sleeping one goes on waiting.
            if state not in ("recovering", "asleep"):
                model.status.become("loading", model.status.reason)
            seconds = await self._load_entry(model, entry)
            if seconds is None:
                return
            tried, note = await self._try(model, entry)
            if not tried:
                return
            if isinstance(model, PackedModel):
                model.proven = True
            if proves:
                await self._put_to_sleep(model, seconds, note)
                return
            # What died or failed was the one before; and what is measured is this one's.
            self._registry.begin_incarnation(model)
            if not isinstance(model, PackedModel):
                await self._health.measure_loaded(model, again=state == "recovering")
            self._breakers[model.entry.name].model.reset()
            self._set_ready(model, seconds, note)
            for member in self._registry.members(model):
                self._set_back(member)

    async def _load_entry(self, model: Model, entry: ModelEntry) -> float | None:
        """Load a model; return the seconds that it took, or None if it did not load, which its state says then."""
        started = self._awake.clock()
        try:
            return await self._loader.load(entry)
        except errors.UpstreamDown as error:
            self._set_unavailable(model, error.detail)
        except errors.ModelUnavailable as error:
            if self._awake.slept_since(started):
                # It may have loaded in good time; the next pass sees that, or loads it again.
                self._set_unavailable(model, "its load was not followed to its end")
                return None
            _log.error("model %s did not load: %s", model.entry.name, error.inside)
            model.status.become("failed", load_reason(error.inside))
        return None

    async def _try(self, model: Model, entry: ModelEntry) -> tuple[bool, str | None]:
        """Return whether a loaded model passes its smoke test, with its note; if not, its state says why."""
        try:
            return True, await self._loader.smoke_test.check_model(entry)
        except (errors.UpstreamDown, errors.ModelUnavailable) as error:
            self._set_unavailable(model, error.detail)
        except errors.ModelProcessDead:
            # Whatever killed it: it is loaded again, as often as any that dies.
            self._set_unavailable(model, "a process of the model died on a made-up row; it is loaded again")
            model.report_dead(model.incarnation, "a made-up row")
        except errors.SmokeTestFailed as error:
            model.status.become("failed", str(error))
            # Triton would go on calling it ready.
            await self._loader.unload(entry, force=True)
        return False, None

    def _set_back(self, model: PackedModel) -> None:
        """Serve a packed model again whose host is back; the host loads it as it is asked."""
        if model.proven and model.status.state == "unavailable":
            self._breakers[model.entry.name].model.reset()
            self._set_ready(model)

    def _set_ready(self, model: Model, load_seconds: float | None = None, note: str | None = None) -> None:
        known = model.status.ready
        if not known:
            _log.info("model %s is ready", model.entry.name)
            model.idle_clock.restart(self._awake.clock())
        if self._serves(model) and not isinstance(model, PackedModel):
            self._health.liveness.watch(model)
        # The note of its load stays.
        note = model.status.reason if known else note or self._packs.why_kept(model.entry.name)
        model.status.become("ready", note, load_seconds)

    def _set_unavailable(self, model: Model, reason: str) -> None:
        _log.warning("model %s is unavailable: %s", model.entry.name, reason)
        self._health.liveness.unwatch(model)
        model.status.become("unavailable", reason)

    def _end(self) -> None:
        for task in list(self._work.values()):
            task.cancel()
        for model in self._registry.all.values():
            self._health.liveness.unwatch(model)
