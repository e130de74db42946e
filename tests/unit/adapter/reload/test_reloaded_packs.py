"""A reload of a pack: what is tried where, and that its process begins anew."""

from __future__ import annotations

from adapter.workers import counters
from converter.schema.manifest import Manifest, ModelEntry
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.loop import in_counted_time
from tests.support.fakes.pack_host import FakeHost
from tests.support.lifecycle.reconcilers import make_reconciler, make_reloader
from tests.support.lifecycle.reconciling import pass_of
from tests.support.lifecycle.served_models import make_registry
from tests.support.packs import HOST, make_host_entry, make_member

DIRECT = f"{HOST}_direct"
# So many deaths of a process, and it is left failed.
MOST_DEATHS = 5


class PackBench:
    """A reloader and a reconciler of a pack of `a` and `b`, which is loaded, in one worker."""

    def __init__(self) -> None:
        self.members = [make_member("a"), make_member("b")]
        self.manifest = Manifest(models=tuple(self.members), hosts=(make_host_entry(),))
        self.table = counters.make_table([HOST, "a", "b"])
        self.registry = make_registry(self.manifest, self.table)
        self.fake = FakeHost({entry.name: entry for entry in self.members})
        self.backend = FakeBackend(self.fake)
        self.reconciler = make_reconciler(self.registry, self.backend)
        self.reloader = make_reloader(self.registry, self.backend, self.table, self.adopt)
        self.said: list[str] = []

    def adopt(self) -> None:
        counters.Cell(self.table, counters.ALL, 0, counters.ADOPTED).set(self.registry.generation)

    def states(self) -> dict[str, str]:
        return {name: model.status.state for name, model in self.registry.all.items()}

    async def die(self, times: int) -> None:
        """End the pack's process so often, and let it be loaded again after each."""
        host = self.registry.hosts[DIRECT]
        for _ in range(times):
            host.report_dead(host.incarnation, "a test")
            await pass_of(self.reconciler)
            await pass_of(self.reconciler)

    async def reload(self, entries: list[ModelEntry]) -> None:
        await self.reloader.stage(entries, "~t", self.said.append)
        await self.reloader.switch(entries, "~t", self.manifest)
        await self.reloader.commit(self.manifest, self.said.append)


@in_counted_time
async def test_a_pack_that_died_too_often_is_loaded_again_by_a_reload() -> None:
    bench = PackBench()
    await pass_of(bench.reconciler)
    await pass_of(bench.reconciler)
    assert (bench.states(), bench.reloader.failed()) == ({HOST: "ready", "a": "ready", "b": "ready"}, [])
    await bench.die(MOST_DEATHS)
    assert bench.states() == {HOST: "failed", "a": "unavailable", "b": "unavailable"}
    assert bench.registry.models["a"].status.reason == (
        "its pack default_pack is failed: a process of the model died, 5 times within 10 minutes: "
        "it is left until it is built anew"
    )
    assert bench.reloader.failed() == ["a", "b"]
    # There is no process of the pack in which they could be tried.
    bench.backend.loads.clear()
    await bench.reload(bench.members)
    assert bench.backend.loads[:4] == ["a_alone~t", "b_alone~t", DIRECT, HOST]
    assert bench.states() == {HOST: "ready", "a": "ready", "b": "ready"}
    assert (bench.fake.loaded, bench.reloader.failed()) == ({"a_alone/1", "b_alone/1"}, [])
    assert {model.pack for model in bench.registry.models.values()} == {"default"}
    assert "a_alone~t" not in bench.backend.loaded


@in_counted_time
async def test_the_deaths_of_a_process_before_a_reload_are_forgotten() -> None:
    bench = PackBench()
    await pass_of(bench.reconciler)
    await bench.die(MOST_DEATHS - 1)
    [host] = bench.manifest.hosts
    bench.registry.put_host(host)
    await bench.die(MOST_DEATHS - 1)
    assert bench.states()[HOST] == "ready"
    await bench.die(1)
    assert bench.states()[HOST] == "failed"
