"""Which way requests take, and when that changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter import regime
from adapter.regime import REGIMES, Regime, RegimeName

DELAY = 0.01
# A call beside which the batcher's wait is short, so-so, and long.
SLOW, MIDDLING, QUICK = 0.1, 0.05, 0.02
HOLD = regime._HOLD_SECONDS
BEGIN = 1000.0


def settled(name: RegimeName, now: float = BEGIN) -> Regime:
    """In this regime from `now` on, with nobody in flight."""
    state = Regime(DELAY)
    if name != "idle":
        assert state.choose(1, SLOW if name == "busy" else QUICK, now) == name
    assert state.now == name
    return state


def crowd(state: Regime, others: float, now: float, call_seconds: float = SLOW, requests: int = 200) -> RegimeName:
    """The regime of the last of many requests that find so many others."""
    for _ in range(requests):
        chosen = state.choose(others, call_seconds, now)
    return chosen


@pytest.mark.parametrize("call_seconds", [0, QUICK, SLOW])
def test_alone_is_idle(call_seconds: float) -> None:
    state = Regime(DELAY)
    assert state.now == "idle"
    assert state.choose(0, call_seconds, BEGIN) == "idle"
    assert state.now == "idle"


@pytest.mark.parametrize(
    ("call_seconds", "way"), [(SLOW, "busy"), (0.067, "busy"), (0.066, "rush"), (QUICK, "rush"), (0, "rush")]
)
def test_a_few_wait_for_the_batcher_only_beside_a_slow_call(call_seconds: float, way: RegimeName) -> None:
    state = Regime(DELAY)
    assert state.choose(1, call_seconds, BEGIN) == way
    assert state.now == way


def test_a_model_whose_batcher_does_not_wait_is_busy_at_any_speed() -> None:
    assert Regime(0).choose(1, 0.0001, BEGIN) == "busy"


def test_many_are_a_rush_however_slow_the_call() -> None:
    state = Regime(DELAY)
    assert crowd(state, 15, BEGIN) == "busy"
    assert crowd(state, 17, BEGIN) == "rush"
    assert state.now == "rush"


def test_one_crowded_moment_is_no_rush() -> None:
    state = settled("busy")
    assert state.choose(100, SLOW, BEGIN) == "busy"
    assert crowd(state, 100, BEGIN, requests=10) == "rush"


def test_a_crowd_must_shrink_well_below_the_bound_it_made() -> None:
    state = settled("busy")
    later = BEGIN + 100 * HOLD
    crowd(state, 20, BEGIN)
    assert crowd(state, 9, later) == "rush"
    assert crowd(state, 7, later) == "busy"
    assert crowd(state, 15, later) == "busy"
    assert crowd(state, 17, later) == "rush"


def test_a_call_must_become_much_quicker_before_its_batcher_is_left() -> None:
    later = BEGIN + 100 * HOLD
    assert settled("rush").choose(1, MIDDLING, later) == "rush"
    state = settled("busy")
    assert state.choose(1, MIDDLING, later) == "busy"
    assert state.choose(1, 0.041, later) == "busy"
    assert state.choose(1, 0.039, later) == "rush"
    # And as much slower before it is taken again.
    assert state.choose(1, 0.066, later + HOLD) == "rush"
    assert state.choose(1, 0.067, later + HOLD) == "busy"


def test_more_load_is_followed_at_once_and_less_is_waited_out() -> None:
    state = Regime(DELAY)
    assert state.choose(1, SLOW, BEGIN) == "busy"
    assert state.choose(1, QUICK, BEGIN) == "rush"
    assert state.choose(1, SLOW, BEGIN + HOLD - 0.01) == "rush"
    assert state.choose(1, SLOW, BEGIN + HOLD) == "busy"
    # The time counts from the last change, whichever way it went.
    assert state.choose(1, QUICK, BEGIN + 1.5 * HOLD) == "rush"
    assert state.choose(1, SLOW, BEGIN + 2.4 * HOLD) == "rush"
    assert state.choose(1, SLOW, BEGIN + 2.5 * HOLD) == "busy"


@pytest.mark.parametrize("name", ["busy", "rush"])
def test_alone_goes_straight_to_the_model_before_the_regime_has_changed(name: RegimeName) -> None:
    state = settled(name)
    assert state.choose(0, SLOW, BEGIN + HOLD / 2) == "idle"
    assert state.now == name
    assert state.choose(0, SLOW, BEGIN + HOLD) == "idle"
    assert state.now == "idle"


@pytest.mark.parametrize("name", ["busy", "rush"])
def test_without_traffic_it_settles_to_idle(name: RegimeName) -> None:
    state = settled(name)
    state.settle(0, BEGIN + HOLD / 2)
    assert state.now == name
    state.settle(1, BEGIN + 100)
    assert state.now == name, "somebody is still in flight"
    state.settle(0, BEGIN + HOLD)
    assert state.now == "idle"


@pytest.mark.parametrize("name", REGIMES)
def test_a_forced_regime_is_kept_whatever_the_load(name: RegimeName) -> None:
    state = Regime(DELAY, name)
    assert state.now == name
    for others in (0, 1, 100):
        for call_seconds in (0, QUICK, SLOW):
            assert crowd(state, others, BEGIN, call_seconds, 50) == name
    state.settle(0, BEGIN + 100)
    assert state.now == name


LOADS = st.lists(
    st.tuples(
        st.floats(0, 2).map(lambda pause: pause * HOLD),
        st.sampled_from([0, 0, 1, 2, 7, 9, 15, 17, 40, 300]),
        st.sampled_from([0, QUICK, MIDDLING, 0.06, 0.07, SLOW]),
        st.booleans(),
        st.integers(1, 60),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(loads=LOADS)
def test_whatever_the_load_it_does_not_flap(loads: list[tuple[float, int, float, bool, int]]) -> None:
    state, now = Regime(DELAY), BEGIN
    changed = now - HOLD
    for pause, others, call_seconds, settles, requests in loads:
        now += pause
        for _ in range(requests):
            before = state.now
            if settles:
                state.settle(others, now)
                assert state.now == before or (state.now, others) == ("idle", 0)
            else:
                chosen = state.choose(others, call_seconds, now)
                assert chosen == (state.now if others else "idle")
                assert state.now != "idle" or others == 0
            if state.now != before:
                if REGIMES.index(state.now) < REGIMES.index(before):
                    assert now - changed >= HOLD
                changed = now
