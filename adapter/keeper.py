"""Keeps the models of the manifest loaded: whenever Triton is there and one is not, loads it.

One pass looks at Triton's index and loads what is missing, `m_direct` before `m`. A model whose load fails
stays `failed` with the reason; one that was ready and is gone (Triton restarted), or whose process died, is loaded
again. Of several workers one leads, and does this; the others take over what it says.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

from adapter import errors
from adapter.backend.protocol import LOAD_TIMEOUT, InferenceBackend
from adapter.registry import Model, Registry
from adapter.sharing import Sharing

_log = logging.getLogger("schwift.adapter")

_CALL_SECONDS = 5.0
_PASS_SECONDS = 1.0
_START_SECONDS = 0.1
# Loads at a time: each start is mostly one core's work.
_LOADS = 2
# What the runtime writes in Triton's texts; a traceback may follow.
_SENTENCE = re.compile(r"\[schwift:load_error\] ([^\n]+?)(?:\s+At:|\n|$)")
_RAISED = re.compile(r"\[schwift:model_error\] (\w+)")


class Keeper:
    """`run` is a task of the adapter's; it ends when cancelled."""

    def __init__(
        self,
        registry: Registry,
        backend: InferenceBackend,
        load_timeout: float,
        sharing: Sharing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._backend = backend
        self._load_timeout = load_timeout
        self._clock = clock
        self._sharing = sharing or Sharing(list(registry.models))
        self._seen = 0
        self._told = b""

    async def run(self) -> None:
        leads = False
        while True:
            led, leads = leads, self._sharing.lead.try_hold()
            try:
                if leads:
                    if not led:
                        # What the one before it knew: reloads since the start.
                        self.follow()
                    await self.look()
                else:
                    self.follow()
            except Exception:
                # The keeper must outlive whatever one pass meets.
                _log.exception("the keeper's pass failed")
            await asyncio.sleep(_PASS_SECONDS if leads and self._registry.triton_up else _START_SECONDS)

    def follow(self) -> None:
        """Take over what the leading worker wrote since."""
        news = self._sharing.bulletin.read(self._seen)
        if news is not None:
            self._seen, text = news
            self._registry.follow(text)

    def tell(self) -> None:
        """Write down what has changed, for the workers that follow."""
        text = self._registry.as_text()
        if text != self._told:
            self._sharing.bulletin.publish(text)
            self._told = text

    async def look(self) -> None:
        """One pass: read Triton's states, and load what is not there."""
        try:
            await self._look()
        finally:
            self.tell()

    async def _look(self) -> None:
        # Before the states are asked for: what is reloaded meanwhile is newer than they are.
        models = list(self._registry.models.values())
        try:
            states = await self._backend.states(_CALL_SECONDS)
        except errors.UpstreamDown:
            self._registry.triton_up = False
            for model in self._registry.models.values():
                if model.ready:
                    self._set_unavailable(model, "the inference server does not answer")
            return
        self._registry.triton_up = True
        missing = []
        for model in models:
            if self._registry.models.get(model.entry.name) is not model:
                continue
            entry = model.entry
            gone = [name for name in entry.triton_models if states.get(f"{name}/{entry.version}") != "READY"]
            if model.dead:
                missing.append(model)
            elif not gone:
                self._set_ready(model)
            elif model.status.state != "failed":
                if model.ready:
                    self._set_unavailable(model, f"{gone[0]} is not loaded")
                missing.append(model)
        slots = asyncio.Semaphore(_LOADS)
        await asyncio.gather(*(self._load(model, slots) for model in missing))

    async def _load(self, model: Model, slots: asyncio.Semaphore) -> None:
        async with slots:
            model.status.state = "loading"
            self.tell()
            started = self._clock()
            try:
                if model.dead:
                    # A load alone does not always replace a dead process.
                    deaths = model.deaths
                    for name in reversed(model.entry.triton_models):
                        await self._backend.unload(name, _CALL_SECONDS)
                    model.mend(deaths)
                for name in model.entry.triton_models:
                    await self._backend.load(name, self._load_timeout)
            except errors.UpstreamDown as error:
                self._set_unavailable(model, error.detail)
                return
            except errors.ModelUnavailable as error:
                model.status.state = "failed"
                model.status.reason = load_reason(error.inside)
                _log.error("model %s did not load: %s", model.entry.name, error.inside)
                return
            model.status.load_seconds = self._clock() - started
            self._set_ready(model)

    def _set_ready(self, model: Model) -> None:
        if not model.ready:
            _log.info("model %s is ready", model.entry.name)
        model.status.state = "ready"
        model.status.reason = None
        self.tell()

    def _set_unavailable(self, model: Model, reason: str) -> None:
        _log.warning("model %s is unavailable: %s", model.entry.name, reason)
        model.status.state = "unavailable"
        model.status.reason = reason


def load_reason(text: str) -> str:
    """Triton's account of a failed load as one sentence for /health.

    The runtime's own sentences as they are; of a user's exception its type alone, since its text may hold anything.
    """
    if found := _SENTENCE.search(text):
        return found.group(1).strip()
    if found := _RAISED.search(text):
        return f"the model's code raised {found.group(1)} while it was loaded: the server's log has the details"
    if text.startswith(LOAD_TIMEOUT):
        return text
    return "Triton could not load it: the server's log has the details"
