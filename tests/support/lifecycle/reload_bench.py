"""A reloader of two models over a fake backend."""

from __future__ import annotations

from typing import Any

from adapter.workers import counters
from converter.schema.manifest import Manifest, ModelEntry
from tests.support.fakes.backend import FakeBackend, Handler, zeros
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.reconcilers import make_reloader
from tests.support.lifecycle.served_models import make_registry


def version(name: str, number: int, **spec: Any) -> ModelEntry:
    return make_entry(name, **{"warmup": True, **spec}).model_copy(update={"version": number})


class Bench:
    """A reloader of models `a` and `b`, whose one worker adopts each generation at once."""

    def __init__(self, handler: Handler = zeros, workers: int = 1) -> None:
        self.table = counters.make_table(["a", "b"], workers)
        self.registry = make_registry(make_manifest(version("a", 1), version("b", 1)), self.table)
        for model in self.registry.models.values():
            model.status.adopt("ready")
        self.backend = FakeBackend(handler)
        self.told: list[int] = []
        self.adopts = True
        self.reloader = make_reloader(self.registry, self.backend, self.table, self.tell, kill=self.kill)
        self.said: list[str] = []
        self.killed: list[str] = []

    def tell(self) -> None:
        self.told.append(self.registry.generation)
        if self.adopts:
            counters.Cell(self.table, counters.ALL, 0, counters.ADOPTED).set(self.registry.generation)

    def kill(self, name: str) -> None:
        self.killed.append(name)

    async def reload(self, manifest: Manifest) -> None:
        entries = [
            entry for entry in manifest.models if self.reloader.served().get(entry.name) != entry.version
        ]  # as converter/live_switch/reload_command.py asks
        await self.reloader.stage(entries, "~t", self.said.append)
        await self.reloader.switch(entries, "~t", manifest)
        await self.reloader.commit(manifest, self.said.append)

    def directs(self) -> dict[str, str]:
        return {name: model.entry.direct for name, model in self.registry.models.items()}


NEXT = make_manifest(version("a", 2), version("b", 1))
