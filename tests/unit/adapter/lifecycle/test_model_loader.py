"""Loads and unloads: in which order, what is said of processes that are left, and what is done if Triton is silent."""

from __future__ import annotations

import pytest

from adapter import errors
from adapter.lifecycle.model_loader import ModelLoader
from adapter.lifecycle.reaper import Processes
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.fakes.outliving import NotedOutliving
from tests.support.lifecycle.reconcilers import Killing, make_smoke_test

ENTRY = make_entry("m")
ALL = Processes(models=(13,), fronts=(11, 12))


class Bench:
    """A loader; each load of `m_direct` gives it another process, and unloads of what is `stuck` get no answer."""

    def __init__(self) -> None:
        self.reaper = NotedOutliving({"m": ALL.fronts, "m_direct": ALL.models})
        self.killed: list[str] = []
        self.stuck: set[str] = set()
        self.backend = _Triton(self)
        self.now = 10.0
        self.loader = ModelLoader(
            self.backend,
            self.reaper,
            make_smoke_test(self.backend, 15),
            60,
            Killing(self.killed.append),
            lambda: self.now,
        )


class _Triton(FakeBackend):
    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    async def load(self, model: str, timeout: float, config: str | None = None) -> None:
        await super().load(model, timeout, config)
        assert timeout == 60
        self._bench.now += 1.5
        if model == "m_direct":
            self._bench.reaper.there[model] = (14,)

    async def unload(self, model: str, timeout: float) -> None:
        # Not before: a death in the unloading is one too.
        assert self._bench.reaper.told == []
        if model in self._bench.stuck:
            raise errors.UpstreamDown("no answer")
        await super().unload(model, timeout)


async def test_the_model_is_loaded_before_its_front_and_unloaded_after_it() -> None:
    bench = Bench()
    assert await bench.loader.load(ENTRY) == 3.0
    assert bench.backend.loads == ["m_direct", "m"]
    # The front has the processes that it had.
    assert bench.reaper.told == [(Processes(models=(13,)), True)]
    bench.reaper.told.clear()
    await bench.loader.unload(ENTRY)
    assert bench.backend.unloads == ["m", "m_direct"]


@pytest.mark.parametrize("orderly", [True, False])
async def test_what_was_unloaded_is_looked_after_from_then_on(orderly: bool) -> None:
    bench = Bench()
    await bench.loader.unload(ENTRY, orderly=orderly)
    assert bench.reaper.told == [(ALL, orderly)]


async def test_what_is_used_on_stays() -> None:
    bench = Bench()
    await bench.loader.unload(ENTRY, used={"m_direct"})
    assert bench.backend.unloads == ["m"]
    assert bench.reaper.told == [(Processes(fronts=ALL.fronts), True)]


@pytest.mark.parametrize("force", [True, False])
async def test_what_does_not_let_itself_be_unloaded_is_killed_or_left(force: bool) -> None:
    bench = Bench()
    bench.stuck = {"m"}
    if force:
        await bench.loader.unload(ENTRY, force=True)
        assert (bench.killed, bench.backend.unloads) == (["m"], ["m_direct"])
        assert bench.reaper.told == [(ALL, True)]
    else:
        with pytest.raises(errors.UpstreamDown):
            await bench.loader.unload(ENTRY)
        assert (bench.killed, bench.backend.unloads, bench.reaper.told) == ([], [], [])
