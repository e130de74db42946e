"""A registry of models with nothing special, and one pass of the reconciler over it."""

from __future__ import annotations

from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.registry import Registry
from tests.support.fakes.entries import make_entry, make_manifest
from tests.support.lifecycle.served_models import make_registry


def registry_of(*names: str) -> Registry:
    return make_registry(make_manifest(*(make_entry(name) for name in names)))


async def pass_of(reconciler: Reconciler) -> None:
    """Reconcile once, and wait for what that began."""
    await reconciler.reconcile()
    await reconciler.wait_idle()
