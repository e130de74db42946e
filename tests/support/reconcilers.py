"""A reconciler and a reloader, each with what it needs and a test does not care for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from adapter.backend.protocol import InferenceBackend
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.reaper import Reaper
from adapter.lifecycle.reconciler import Reconciler
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from adapter.reload.reloader import Reloader
from adapter.workers.shared_table import SharedTable
from tests.support.fakes.outliving import NotedOutliving

DEADLINE = 15.0


def make_reconciler(
    registry: Registry,
    backend: InferenceBackend,
    load_timeout: float = 60,
    clock: Callable[[], float] = time.monotonic,
    stubs: StubProcesses | None = None,
    supervisor: SupervisorPipe | None = None,
    reaper: Reaper | None = None,
    **more: Any,
) -> Reconciler:
    reaper = reaper or Reaper(stubs, supervisor, DEADLINE, clock)
    loader = ModelLoader(backend, reaper, load_timeout, supervisor, clock)
    return Reconciler(
        registry, backend, loader, reaper, clock=clock, deadline=DEADLINE, stubs=stubs, supervisor=supervisor, **more
    )


def make_reloader(
    registry: Registry,
    backend: InferenceBackend,
    table: SharedTable,
    tell: Callable[[], None] = lambda: None,
    answer_timeout: float = 1,
    kill: Callable[[str], object] = lambda name: None,
    clock: Callable[[], float] = time.monotonic,
    reaper: Reaper | None = None,
    **more: Any,
) -> Reloader:
    loader = ModelLoader(backend, reaper or NotedOutliving({}), 60, Killing(kill), clock)
    return Reloader(registry, backend, table, tell, loader, answer_timeout, clock, **more)


class Killing(SupervisorPipe):
    """Hands what is to be killed to a function."""

    def __init__(self, kill: Callable[[str], object]) -> None:
        self._kill = kill

    def kill(self, model: str) -> bool:
        self._kill(model)
        return True
