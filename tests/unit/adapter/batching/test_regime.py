"""Which way requests take, and when that changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.batching import route
from adapter.batching.route import Regime
from converter.schema.settings import REGIMES, RegimeName

HOLD = route.HOLD_SECONDS
BEGIN = 1000.0


def shown(state: Regime) -> RegimeName:
    """As a call, since the type checker believes that an attribute stays as it was."""
    return state.now


def in_rush(now: float = BEGIN) -> Regime:
    state = Regime()
    assert state.choose(1, now) == "rush"
    assert shown(state) == "rush"
    return state


def test_alone_is_idle() -> None:
    state = Regime()
    assert shown(state) == "idle"
    assert state.choose(0, BEGIN) == "idle"
    assert shown(state) == "idle"


@pytest.mark.parametrize("others", [1, 2, 300])
def test_company_is_a_rush_at_once(others: int) -> None:
    state = Regime()
    assert state.choose(others, BEGIN) == "rush"
    assert shown(state) == "rush"


def test_less_load_is_waited_out_and_alone_goes_straight_meanwhile() -> None:
    state = in_rush()
    assert state.choose(0, BEGIN + HOLD / 2) == "idle"
    assert shown(state) == "rush"
    assert state.choose(1, BEGIN + HOLD / 2) == "rush"
    assert state.choose(0, BEGIN + HOLD) == "idle"
    assert shown(state) == "idle"
    assert state.choose(1, BEGIN + HOLD) == "rush"
    assert shown(state) == "rush"


def test_without_traffic_it_settles_to_idle() -> None:
    state = in_rush()
    state.settle(0, BEGIN + HOLD / 2)
    assert shown(state) == "rush"
    state.settle(1, BEGIN + 100)
    assert shown(state) == "rush", "somebody is still in flight"
    state.settle(0, BEGIN + HOLD)
    assert shown(state) == "idle"


def test_a_model_with_a_cache_is_busy_at_any_load() -> None:
    state = Regime(cached=True)
    assert shown(state) == "busy"
    assert [state.choose(others, BEGIN) for others in (0, 1, 300)] == ["busy"] * 3
    state.settle(0, BEGIN + 100)
    assert shown(state) == "busy"


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", REGIMES)
def test_a_forced_regime_is_kept_whatever_the_load(name: RegimeName, cached: bool) -> None:
    state = Regime(cached, name)
    assert shown(state) == name
    assert [state.choose(others, BEGIN) for others in (0, 1, 300)] == [name] * 3
    state.settle(0, BEGIN + 100)
    assert shown(state) == name


LOADS = st.lists(
    st.tuples(
        st.floats(0, 2).map(lambda pause: pause * HOLD),
        st.sampled_from([0, 0, 1, 2, 300]),
        st.booleans(),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(loads=LOADS)
def test_whatever_the_load_it_does_not_flap(loads: list[tuple[float, int, bool]]) -> None:
    state, now, risen = Regime(), BEGIN, BEGIN
    for pause, others, settles in loads:
        now += pause
        before = state.now
        if settles:
            state.settle(others, now)
        else:
            assert state.choose(others, now) == ("rush" if others else "idle")
            assert shown(state) != "idle" or others == 0
        if (before, state.now) == ("idle", "rush"):
            risen = now
        if (before, state.now) == ("rush", "idle"):
            assert others == 0
            assert now - risen >= HOLD
