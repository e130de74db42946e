"""The models of the manifest, by name, and who is told when one takes another's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import orjson

from adapter.lifecycle.packs.packed_model import PackedModel
from adapter.lifecycle.served_model import FIRST_INCARNATION, Model
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import Manifest, ModelEntry, entry_json


class Registry:
    """The served models of one worker by name, and the hosts of packs by that of their direct models.

    `triton_up` is what the reconciler saw last. `worker` is this process's place in `table`. Each reload makes a new
    `generation` of models, and sets the event `new_generation`, for who clears it and waits. `whole` is Model's, if
    processes can be seen; if not, none is known to be gone.
    """

    def __init__(
        self, manifest: Manifest, table: SharedTable, worker: int, whole: Callable[[ModelEntry], bool]
    ) -> None:
        self._table = table
        self._worker = worker
        self._whole = whole
        self._watchers: list[Callable[[str, Model | None], None]] = []
        self._host_watchers: list[Callable[[str], None]] = []
        self._abandoned_watchers: list[Callable[[ModelEntry], None]] = []
        self._state_watchers: list[Callable[[], None]] = []
        # What the reloads changed: entries as their manifests have them, None for a model that was removed.
        self._changed: dict[str, str | None] = {}
        self.new_generation = asyncio.Event()
        self._generation = 0
        # The highest incarnation of any model.
        self._incarnation = FIRST_INCARNATION
        self.hosts = {entry.direct: self._made(entry) for entry in manifest.hosts}
        self.models = {entry.name: self._made(entry) for entry in manifest.models}
        self.triton_up = False
        # This process is about to end: it is not ready, and serves on for a while.
        self.draining = False

    @property
    def generation(self) -> int:
        """Which models these are: the number goes up with each reload."""
        return self._generation

    @generation.setter
    def generation(self, generation: int) -> None:
        self._generation = generation
        self.new_generation.set()

    @property
    def ready(self) -> bool:
        """Whether Triton and every model answer, and this process is not about to end."""
        return not self.draining and self.triton_up and all(model.available for model in self.models.values())

    @property
    def all(self) -> Mapping[str, Model]:
        """Hosts and models by the names that they have in the shared table, hosts first: models need them."""
        return {**{host.entry.name: host for host in self.hosts.values()}, **self.models}

    def members(self, host: Model) -> list[PackedModel]:
        """Return the models that are in a host's process."""
        return [model for model in self.models.values() if isinstance(model, PackedModel) and model.host is host]

    def host_entry(self, direct: str) -> ModelEntry | None:
        """Return the entry of a host as it is served now."""
        host = self.hosts.get(direct)
        return None if host is None else host.entry

    @property
    def room(self) -> int:
        """How many models can be added to these."""
        return self._table.room

    def watch(self, watcher: Callable[[str, Model | None], None]) -> None:
        """Have `watcher` called with each name that gets another model, and with that model; None if it gets none."""
        self._watchers.append(watcher)

    def watch_hosts(self, watcher: Callable[[str], None]) -> None:
        """Have `watcher` called with the name of each host that a reload has loaded in this worker."""
        self._host_watchers.append(watcher)

    def watch_states(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called if this worker changes a model's state, or gives up a model's calls."""
        self._state_watchers.append(watcher)

    def watch_abandoned(self, watcher: Callable[[ModelEntry], None]) -> None:
        """Have `watcher` called with a model's entry if processes are ended that may have calls, whichever worker's."""
        self._abandoned_watchers.append(watcher)

    def begin_incarnation(self, model: Model) -> None:
        """Give a model that was loaded or unloaded the next incarnation; for the worker that leads."""
        self._incarnation += 1
        model.begin_incarnation(self._incarnation)

    def abandon_calls(self, model: Model) -> None:
        """Give up a model's calls in flight: the processes that would answer them are about to be ended."""
        self._abandon_calls(model, model.incarnation)
        self._changed_state()

    def replace(self, entries: Iterable[ModelEntry], removed: Iterable[str] = ()) -> None:
        """Serve these entries, which are loaded, in the place of those of their names, and the removed ones no more."""
        for entry in entries:
            self._changed[entry.name] = entry_json(entry)
            self.begin_incarnation(self._put(entry))
        for name in removed:
            self._changed[name] = None
            self._drop(name)
        self.generation += 1

    def move_out(self, entry: ModelEntry, reason: str) -> None:
        """Serve a packed model by a process of its own, which is loaded; `reason` is for /health."""
        self.replace([entry])
        model = self.models[entry.name]
        model.moved_out.add(1)
        # What its pack grew by for it says nothing of its own process, which is not measured yet.
        model.memory.set(0)
        model.status.become("ready", reason)

    def put_host(self, entry: ModelEntry) -> None:
        """Serve a host that is loaded, in the place of the one of its name; its models stay in it."""
        self._put_host(entry)
        self.begin_incarnation(self.hosts[entry.direct])
        self.hosts[entry.direct].status.adopt("ready")
        self.generation += 1
        for watcher in self._host_watchers:
            watcher(entry.name)

    def drop_host(self, direct: str) -> None:
        """Serve a host no more that has no models."""
        self.hosts.pop(direct, None)
        self.generation += 1

    def as_text(self) -> bytes:
        """Write as JSON what a worker that does not lead has to know, for its `follow`."""
        states = {
            name: [
                model.status.state,
                model.status.reason,
                model.status.load_seconds,
                model.incarnation,
                model.abandoned,
            ]
            for name, model in self.all.items()
        }
        hosts = {direct: entry_json(host.entry) for direct, host in self.hosts.items()}
        told = {
            "triton_up": self.triton_up, "models": states, "hosts": hosts, "generation": self.generation,
            "changed": self._changed, "rows": self._table.names, "incarnation": self._incarnation,
        }  # fmt: skip
        return orjson.dumps(told)

    def follow(self, text: bytes) -> None:
        """Take over what the leading worker wrote, but for what it has not heard of: deaths that were seen since."""
        told = orjson.loads(text)
        self.triton_up = told["triton_up"]
        if told["generation"] != self.generation:
            self._follow_reloads(told["changed"], told["hosts"], told["rows"])
            self.generation = told["generation"]
        self._incarnation = told["incarnation"]
        known = self.all
        for name, (state, reason, load_seconds, incarnation, abandoned) in told["models"].items():
            model = known[name]
            # Before it is ready again: what is sent from then on goes to its new processes.
            if abandoned > model.abandoned:
                self._abandon_calls(model, abandoned)
            model.begin_incarnation(incarnation)
            if not (model.dead and state == "ready"):
                model.status.adopt(state, reason, load_seconds)

    def _follow_reloads(self, changed: dict[str, str | None], hosts: dict[str, str], rows: list[str]) -> None:
        self._take_rows(rows)
        for entry in map(ModelEntry.model_validate_json, hosts.values()):
            self._put_host(entry)
        for name, text in changed.items():
            if text is None:
                self._drop(name)
            elif name not in self.models or entry_json(self.models[name].entry) != text:
                self._put(ModelEntry.model_validate_json(text))
        self.hosts = {direct: host for direct, host in self.hosts.items() if direct in hosts}
        self._changed = changed

    def _put(self, entry: ModelEntry) -> Model:
        self._take_rows([entry.name])
        before = self.models.get(entry.name)
        model = self._made(entry)
        model.status.adopt("ready", None, before.status.load_seconds if before else None)
        self.models = dict(sorted({**self.models, entry.name: model}.items()))
        for watcher in self._watchers:
            watcher(entry.name, model)
        return model

    def _put_host(self, entry: ModelEntry) -> None:
        self._take_rows([entry.name])
        host = self.hosts.get(entry.direct)
        if host is None:
            self.hosts[entry.direct] = self._made(entry)
        elif entry_json(host.entry) != entry_json(entry):
            # The models in it are asked as before.
            host.entry = entry

    def _drop(self, name: str) -> None:
        if self.models.pop(name, None) is not None:
            for watcher in self._watchers:
                watcher(name, None)

    def _changed_state(self) -> None:
        for watcher in self._state_watchers:
            watcher()

    def _abandon_calls(self, model: Model, incarnation: int) -> None:
        model.abandoned = incarnation
        for watcher in self._abandoned_watchers:
            watcher(model.entry)

    def _take_rows(self, names: list[str]) -> None:
        counters.begin(self._table, self._table.add(names), self._worker, whole=False)

    def _made(self, entry: ModelEntry) -> Model:
        if entry.host is not None:
            return PackedModel(entry, self._table, self._worker, self.hosts[entry.host], self._changed_state)
        return Model(entry, self._table, self._worker, self._whole, self._changed_state)
