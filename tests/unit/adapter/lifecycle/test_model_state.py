"""The states of a model: which may follow which, and who is told."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import pytest

from adapter.lifecycle.model_state import FOLLOWING, STATES, ModelState, State
from adapter.workers.shared_snapshot import SharedSnapshot
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.reconcilers import make_sync
from tests.support.lifecycle.served_models import make_registry

ROOT = Path(__file__).resolve().parents[4]


def state_of(state: State, told: list[State] | None = None) -> ModelState:
    model_state = ModelState(lambda: None if told is None else told.append(model_state.state))
    model_state.adopt(state)
    return model_state


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_a_state_follows_those_of_the_table_alone(before: State, after: State) -> None:
    model_state = state_of(before)
    if before == after or after in FOLLOWING[before]:
        model_state.become(after)
        assert (model_state.state, model_state.ready) == (after, after == "ready")
    else:
        with pytest.raises(ValueError, match=f"^a model that is {before} does not become {after}$"):
            model_state.become(after)
        assert model_state.state == before


def test_every_state_can_be_left_for_ready_and_none_goes_back_to_waiting() -> None:
    assert set(FOLLOWING) == set(STATES)
    assert all("ready" in following for state, following in FOLLOWING.items() if state != "ready")
    assert not any("waiting" in following for following in FOLLOWING.values())


def test_each_change_is_told_once_and_what_is_taken_over_is_not() -> None:
    told: list[State] = []
    model_state = state_of("loading", told)
    assert told == []
    for _ in range(3):
        model_state.become("ready", None, 1.5)
        model_state.become("ready")
    assert (told, model_state.load_seconds) == (["ready"], 1.5)
    model_state.become("unavailable", "it is gone")
    model_state.become("unavailable", "Triton is gone")
    assert told == ["ready", "unavailable", "unavailable"]
    assert model_state.reason == "Triton is gone"


def test_a_change_is_published_by_the_worker_that_leads_alone() -> None:
    snapshot = SharedSnapshot()
    registries = [make_registry(make_manifest(make_entry("a"))) for _ in range(2)]
    leading, following = (make_sync(registry, snapshot) for registry in registries)
    leading.lead()
    here, there = (registry.models["a"].status for registry in registries)
    there.become("ready")
    assert snapshot.read(0) is None
    here.become("loading")
    following.catch_up()
    assert there.state == "loading"


def test_who_takes_the_lead_knows_what_the_one_before_it_said() -> None:
    snapshot = SharedSnapshot()
    registries = [make_registry(make_manifest(make_entry("a"))) for _ in range(2)]
    first, second = (make_sync(registry, snapshot) for registry in registries)
    first.lead()
    registries[0].models["a"].status.become("failed", "why")
    second.lead()
    assert registries[1].models["a"].status.reason == "why"


def test_nobody_else_writes_a_state() -> None:
    """No assignment to the attributes of a model's state, in no module but its own."""
    writers = set()
    for path in (ROOT / "adapter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in (leaf for each in targets for leaf in ast.walk(each)):
                    if isinstance(target, ast.Attribute) and "status" in ast.unparse(target.value):
                        writers.add(path.name)
    assert writers == set()
