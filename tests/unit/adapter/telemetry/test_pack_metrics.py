"""What packs hold, and how often a model was moved out of one."""

from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from adapter.lifecycle.registry import Registry
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import Manifest
from tests.support.builders import make_metrics
from tests.support.fakes.entries import make_entry
from tests.support.lifecycle.served_models import make_registry
from tests.support.packs import HOST, make_host_entry, make_member

MIB = 1024 * 1024


def shown(registry: Registry, table: SharedTable, name: str) -> dict[str, float]:
    """A metric's values, by the one label that its samples have."""
    text = asyncio.run(make_metrics(registry, table).render()).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                [label] = sample.labels.values()
                found[label] = sample.value
    return found


def test_a_packs_memory_is_told_less_that_of_its_models() -> None:
    manifest = Manifest(
        models=(make_member("a"), make_member("b"), make_entry("c")), hosts=(make_host_entry(instances=2),)
    )
    table = counters.make_table([HOST, "a", "b", "c"])
    registry = make_registry(manifest, table)
    assert shown(registry, table, "schwift_pack_memory_bytes") == {}
    for name, size in ((HOST, 300), ("a", 50), ("b", 20), ("c", 90)):
        registry.all[name].memory.set(size * MIB)
    # Those of all processes.
    assert shown(registry, table, "schwift_pack_memory_bytes") == {"default": 230 * MIB}
    assert shown(registry, table, "schwift_model_memory_bytes") == {"a": 50 * MIB, "b": 20 * MIB, "c": 90 * MIB}
    registry.all["a"].memory.set(500 * MIB)
    assert shown(registry, table, "schwift_pack_memory_bytes") == {"default": 0}


def test_the_deaths_of_a_packs_process_are_counted_under_its_own_name() -> None:
    manifest = Manifest(models=(make_member("a"), make_entry("c")), hosts=(make_host_entry(),))
    table = counters.make_table([HOST, "a", "c"])
    registry = make_registry(manifest, table)
    registry.all[HOST].recoveries["died"].add(2)
    registry.all[HOST].stuck.add(1)
    registry.all["c"].recoveries["hung"].add(1)
    text = asyncio.run(make_metrics(registry, table).render()).decode()
    counted = [line for line in text.splitlines() if line.startswith("schwift_model_recoveries") and line[-3:] != "0.0"]
    assert counted == [
        f'schwift_model_recoveries_total{{model_name="{HOST}",reason="died"}} 2.0',
        'schwift_model_recoveries_total{model_name="c",reason="hung"} 1.0',
    ]
    assert shown(registry, table, "schwift_stuck_processes_total") == {HOST: 1, "a": 0, "c": 0}


def test_moving_out_is_counted_from_zero_and_stays_counted() -> None:
    manifest = Manifest(models=(make_member("a"), make_member("b"), make_entry("c")), hosts=(make_host_entry(),))
    table = counters.make_table([HOST, "a", "b", "c"])
    registry = make_registry(manifest, table)
    assert shown(registry, table, "schwift_pack_moved_out_total") == {"a": 0, "b": 0}
    assert [registry.models[name].pack for name in "abc"] == ["default", "default", None]
    registry.move_out(registry.models["a"].entry.moved_out(), "it is slow")
    assert shown(registry, table, "schwift_pack_moved_out_total") == {"a": 1, "b": 0}
    assert registry.models["a"].pack is None


def test_a_model_that_sleeps_is_served() -> None:
    table = counters.make_table(["a"])
    registry = make_registry(Manifest(models=(make_entry("a"),)), table)
    registry.models["a"].status.adopt("asleep")
    assert shown(registry, table, "schwift_model_ready") == {"a": 1}
