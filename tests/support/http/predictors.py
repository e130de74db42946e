"""A service with one ready model, and a backend in memory behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from adapter import wiring
from adapter.backend.host_client import HostClient
from adapter.batching.shared_cores import SharedCores
from adapter.bindings import Bindings
from adapter.codec.off_loop import OffLoop
from adapter.lifecycle.awake_clock import AwakeClock
from adapter.limits.admission import Admission
from adapter.packs import Packs
from adapter.predictor import Predictor
from adapter.request_timings import RequestTimings
from adapter.workers import counters
from converter.schema.manifest import ModelEntry
from converter.schema.model import Endpoint
from converter.schema.settings import RegimeName
from tests.support.builders import make_breakers
from tests.support.fakes.backend import FakeBackend, Handler
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.lifecycle_desk import double
from tests.support.lifecycle.served_models import make_registry

WIDE = make_entry(inputs=[("x", "float32", (2,))], outputs=[("y", "float32", (2,))], direct_max_rows=4)


class Served:
    """`now` is what the service's clock says, unless it has another one."""

    def __init__(
        self,
        handler: Handler = double,
        entry: ModelEntry = WIDE,
        limit: int = 10,
        regime: RegimeName | None = None,
        clock: Callable[[], float] | None = None,
        timeout: float = 15,
        whole: Callable[[ModelEntry], bool] = lambda _: False,
    ) -> None:
        self.entry = entry
        self.registry = make_registry(make_manifest(entry), whole=whole)
        self.model = self.registry.models[entry.name]
        self.model.status.adopt("ready")
        self.registry.triton_up = True
        self.backend = FakeBackend(handler)
        self.table = counters.make_table([entry.name])
        self.admission = Admission(limit, counters.Cell(self.table, counters.ALL, 0, counters.IN_FLIGHT))
        self.now = 100.0
        # Whether the event loop has stood still lately.
        self.slept = False
        self._regime = regime
        self._timeout = timeout
        self.clock = (lambda: self.now) if clock is None else clock
        self.timings = RequestTimings()
        self.breakers = make_breakers([entry.name], self.clock)
        self.service = self.make_service()

    def make_service(self) -> Predictor:
        mine = counters.WorkerCounters(self.table, 0)
        hosts: dict[str, ModelEntry] = {}
        cores = SharedCores(0, self.clock)
        packs = Packs(HostClient(self.backend, lambda host: bytes(32)), cores, hosts.get, mine, self.clock)
        make_route = wiring.route_maker(self.backend, packs, cores, mine, self._regime, self.clock)
        bindings = Bindings(self.registry, self.breakers, mine, make_route, lambda: None)
        wiring.watch_deaths(self.registry, self.backend)
        awake = _Awake(self)
        return Predictor(self.registry, bindings, self.admission, self._timeout, awake, OffLoop())

    async def send(self, body: bytes, endpoint: Endpoint, timeout: float | None) -> bytes:
        target = self.service.bindings.find(self.entry.name, endpoint)
        assert target is not None
        return await self.service.predict(target, body, timeout, self.timings)

    async def ask(self, features: Any, endpoint: Endpoint = "predict", timeout: float | None = None) -> Any:
        return json.loads(await self.send(json.dumps({"features": features}).encode(), endpoint, timeout))

    def answer(self, features: Any, endpoint: Endpoint = "predict", timeout: float | None = None) -> Any:
        """In a loop of its own, and so by a service of its own."""
        self.service = self.make_service()
        return asyncio.run(self.ask(features, endpoint, timeout))

    @property
    def in_flight(self) -> float:
        """How many requests have a place in the bound of them all."""
        return counters.total(self.table, counters.ALL, counters.IN_FLIGHT)

    def cell(self, cell: int) -> float:
        """One of the model's numbers in the shared table."""
        return counters.total(self.table, self.entry.name, cell)


class _Awake(AwakeClock):
    """Sleeps when the test says so."""

    def __init__(self, served: Served) -> None:
        super().__init__(served.clock)
        self._served = served

    def slept_since(self, moment: float) -> bool:
        return self._served.slept
