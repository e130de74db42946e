"""How often processes are measured; what is found of them is tried with the reconciler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from adapter.lifecycle.health_check import HealthCheck
from adapter.lifecycle.liveness import ModelLiveness
from adapter.lifecycle.stub_processes import StubProcesses
from adapter.workers import counters
from tests.support.fakes.backend import FakeBackend, zeros
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.served_models import make_registry


class CountedStubs(StubProcesses):
    """Count how often all are measured; each holds 7 bytes."""

    times = 0

    def measure(self, groups: Mapping[str, Iterable[str]]) -> dict[str, int]:
        self.times += 1
        return dict.fromkeys(groups, 7)


@pytest.mark.parametrize(("models", "times"), [(1, 12), (20, 12), (80, 3)])
async def test_many_models_are_measured_less_often(tmp_path: Path, models: int, times: int) -> None:
    registry = make_registry(make_manifest(*(make_entry(f"m{number}") for number in range(models))))
    stubs, now = CountedStubs("127.0.0.1:1", tmp_path), [0.0]
    liveness = ModelLiveness(counters.make_table([]), FakeBackend(zeros), 15.0, lambda: now[0])
    health = HealthCheck(liveness, stubs, lambda: now[0])
    for _ in range(120):
        await health.measure(registry.models, ())
        now[0] += 1
    assert stubs.times == times
    assert {model.memory.total() for model in registry.models.values()} == {7}


class Unloading(CountedStubs):
    """While the processes are measured, a model's unload ends, and another one begins."""

    def __init__(self, folder: Path, loading: set[str]) -> None:
        super().__init__("127.0.0.1:1", folder)
        self._loading = loading

    def measure(self, groups: Mapping[str, Iterable[str]]) -> dict[str, int]:
        self._loading ^= {"ends", "begins"}
        return super().measure(groups)


async def test_a_model_that_is_unloaded_meanwhile_is_not_given_its_old_memory(tmp_path: Path) -> None:
    registry = make_registry(make_manifest(*(make_entry(name) for name in ("ends", "begins", "stays"))))
    loading = {"ends"}
    liveness = ModelLiveness(counters.make_table([]), FakeBackend(zeros), 15.0, lambda: 0.0)
    health = HealthCheck(liveness, Unloading(tmp_path, loading))
    await health.measure(registry.models, loading)
    assert {name: model.memory.total() for name, model in registry.models.items()} == {
        "ends": 0, "begins": 0, "stays": 7,
    }  # fmt: skip
