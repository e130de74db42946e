"""A pack's batcher with a host in memory, in counted time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from adapter.backend.host_client import HostClient
from adapter.batching.shared_cores import SharedCores
from adapter.codec.codec import Codec
from adapter.packs import Packs
from adapter.request_timings import RequestTimings
from adapter.telemetry.metrics import Metrics
from adapter.workers import counters
from converter.schema.manifest import Manifest, ModelEntry
from tests.support.builders import make_metrics
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.fakes.loop import counted_loop
from tests.support.fakes.pack_host import KEY, FakeHost
from tests.support.lifecycle.lifecycle_desk import rows_in
from tests.support.lifecycle.served_models import make_registry

HOST = "default_pack"


def make_host_entry(rows: int = 8, instances: int = 1) -> ModelEntry:
    """The entry of a host, as a build's manifest has it."""
    return make_entry(
        HOST,
        inputs=[("schwift.call", "uint8", (-1,))],
        outputs=[("schwift.answer", "uint8", (-1,))],
        direct_max_rows=rows,
        instances=instances,
    )


def make_member(name: str, **keys: Any) -> ModelEntry:
    """The entry of a packed model; `keys` are make_entry's."""
    keys = {"inputs": [("x", "float32", (1,))], "outputs": [("y", "float32", (1,))], **keys}
    return make_entry(name, **keys).model_copy(update={"host": f"{HOST}_direct", "alone": f"{name}_alone"})


class PackDesk:
    """Some packed models, their host, and what it was called with."""

    def __init__(self, *members: ModelEntry, rows: int = 8, instances: int = 1) -> None:
        self.entries = {entry.name: entry for entry in members or map(make_member, "ab")}
        self.host_entry = make_host_entry(rows, instances)
        self.host = FakeHost(self.entries, instances)
        self.backend = FakeBackend(self.host)
        self.table = counters.make_table([HOST, *self.entries])
        self.loop = counted_loop()
        client = HostClient(self.backend, lambda host: KEY)
        mine = counters.WorkerCounters(self.table, 0)
        self.gone = False
        cores = SharedCores(0, self.loop.time)
        self.packs = Packs(client, cores, self._host_of, mine, self.loop.time)
        self.codecs = {name: Codec(entry) for name, entry in self.entries.items()}
        self.ways = {
            name: self.packs.join(f"{HOST}_direct", entry, self.codecs[name]) for name, entry in self.entries.items()
        }

    def _host_of(self, name: str) -> ModelEntry | None:
        return None if self.gone else self.host_entry

    def ask(
        self,
        name: str,
        *values: float,
        timeout: float = 5.0,
        join: bool = True,
        timings: RequestTimings | None = None,
    ) -> asyncio.Task[Any]:
        """A request of a model with one row for each value; the values of its answer."""
        noted = timings or RequestTimings()

        async def values_of() -> Any:
            deadline = self.loop.time() + timeout
            (text,) = await self.ways[name].submit(([[value] for value in values],), deadline, noted, join)
            return [value for (value,) in rows_in(text)]

        return self.loop.create_task(values_of())

    async def hold(self, name: str = "a", value: float = 0.0) -> asyncio.Task[Any]:
        """Ask a row, in a call that is held until `let_go`."""
        self.host.held = True
        task = self.ask(name, value)
        while not self.host.gates:
            await asyncio.sleep(0)
        return task

    def let_go(self) -> None:
        """End the calls that are held, and hold no more."""
        self.host.held = False
        for gate in self.host.gates:
            gate.set()

    async def warm(self, **seconds: float) -> None:
        """Let each model be asked often enough that it is known how long it takes."""
        for name, takes in seconds.items():
            self.host.mood(name).seconds = takes
            for _ in range(40):
                await self.ask(name, 1.0, join=False)
        self.host.calls.clear()
        self.host.began.clear()

    def cell(self, name: str, cell: int) -> float:
        """One of a model's numbers, or of the host's, in the shared table."""
        return counters.total(self.table, name, cell)

    def calls_of(self, names: Sequence[str]) -> list[dict[str, list[float]]]:
        """The calls that had a part of one of these models."""
        return [call for call in self.host.calls if set(call) & set(names)]


def make_all_metrics() -> Metrics:
    """Make the metrics of a packed model and its host, which have had what each family of metrics tells of."""
    manifest = Manifest(models=(make_member("a"),), hosts=(make_host_entry(),))
    registry = make_registry(manifest, table := counters.make_table([HOST, "a"]))
    for name in ("a", HOST):
        counters.Cell(table, name, 0, counters.MEMORY).set(5)
    counters.EndpointCounters(table, "a", 0, "predict").answered(0.004, 1)
    counters.CallHistogram(table, "a", 0, "direct").took(0.004)
    return make_metrics(registry, table)
