"""A served model by itself, without a registry."""

from __future__ import annotations

from collections.abc import Callable

from adapter.lifecycle.model_state import State
from adapter.lifecycle.served_model import Model
from adapter.workers import counters
from converter.schema.manifest import ModelEntry
from tests.support.fakes.entries import make_entry


def make_model(state: State = "ready", whole: Callable[[ModelEntry], bool] = lambda _: True) -> Model:
    """The model `m` in a state; `whole` says whether all of its processes are there."""
    model = Model(make_entry("m"), counters.make_table(["m"]), 0, whole, lambda: None)
    model.status.adopt(state)
    return model
