"""How a load or an unload ended, by what Triton's index says of the model while it goes on."""

from __future__ import annotations

import pytest

from adapter.backend.load_progress import LoadProgress, State, States, unloaded

READY, LOADING, UNLOADING = State("READY"), State("LOADING"), State("UNLOADING")
UNLOADED, FAILED, WORSE = (State("UNAVAILABLE", reason) for reason in ("unloaded", "Internal: no", "Internal: worse"))


@pytest.mark.parametrize(
    ("before", "seen", "end"),
    [
        pytest.param({}, [{"1": READY}], READY, id="new and quick"),
        pytest.param({"1": UNLOADED}, [{"1": LOADING}, {"1": READY}], READY, id="unloaded before"),
        pytest.param({"1": UNLOADING}, [{"1": UNLOADED}, {"1": UNLOADED}], None, id="its unloading ends first"),
        pytest.param({"1": UNLOADING}, [{"1": UNLOADED}, {"1": LOADING}, {"1": READY}], READY, id="and then it loads"),
        pytest.param({"1": READY}, [{"1": READY}, {"1": READY}], None, id="ready all along: not known"),
        pytest.param({"1": READY}, [{"1": LOADING}, {"1": READY}], READY, id="ready before, and again"),
        pytest.param({"1": READY}, [{"1": READY, "2": LOADING}], None, id="a new version loads"),
        pytest.param({"1": READY}, [{"1": UNLOADING, "2": READY}], READY, id="a new version took over"),
        pytest.param({"1": READY}, [{"1": READY, "2": FAILED}], FAILED, id="a new version failed"),
        pytest.param({"1": FAILED}, [{"1": FAILED}], None, id="failed before: not known"),
        pytest.param({"1": FAILED}, [{"1": LOADING}, {"1": FAILED}], FAILED, id="failed before, and again"),
        pytest.param({"1": FAILED}, [{"1": WORSE}], WORSE, id="failed before, and in another way"),
        pytest.param({"1": FAILED}, [{"1": READY}], READY, id="failed before, and not now"),
        pytest.param({}, [{"1": FAILED, "2": LOADING}], None, id="another version goes on"),
    ],
)
def test_a_load(before: States, seen: list[States], end: State | None) -> None:
    load = LoadProgress(before)
    assert [load.look(states) for states in seen][-1] == end


@pytest.mark.parametrize(
    ("states", "over"),
    [
        ({}, True),
        ({"1": UNLOADED, "2": UNLOADING}, True),
        ({"1": UNLOADED, "2": READY}, False),
        ({"1": LOADING}, False),
    ],
)
def test_an_unload(states: States, over: bool) -> None:
    assert (unloaded(states) is not None) is over
