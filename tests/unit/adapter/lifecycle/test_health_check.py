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
