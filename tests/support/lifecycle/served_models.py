"""A served model by itself, and a registry of models."""

from __future__ import annotations

from collections.abc import Callable

from adapter.lifecycle.model_state import State
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.workers import counters
from adapter.workers.shared_table import SharedTable
from converter.schema.manifest import Manifest, ModelEntry
from tests.support.fakes.entries import make_entry


def make_model(state: State = "ready", whole: Callable[[ModelEntry], bool] = lambda _: True) -> Model:
    """The model `m` in a state; `whole` says whether all of its processes are there."""
    model = Model(make_entry("m"), counters.make_table(["m"]), 0, whole, lambda: None)
    model.status.adopt(state)
    return model


def make_registry(
    manifest: Manifest,
    table: SharedTable | None = None,
    worker: int = 0,
    whole: Callable[[ModelEntry], bool] = lambda _: True,
) -> Registry:
    """One worker's; with a table of its own, unless it shares one. `whole` is as in `make_model`."""
    return Registry(manifest, table or counters.make_table([entry.name for entry in manifest.models]), worker, whole)
