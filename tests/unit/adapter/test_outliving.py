"""Which processes are one too many, and when those are ended."""

from __future__ import annotations

import pytest

from adapter.outliving import Outliving
from adapter.stubs import Stubs, Supervisor

# A deadline of 2 s, and a second.
PATIENCE = 3.0
READY = {"m": "READY", "m/1": "READY"}


class Processes(Stubs):
    """Of the model `m`; `older` have others in their places."""

    def __init__(self, pids: tuple[int, ...] = (11, 12)) -> None:
        super().__init__("")
        self._pids = {"m": pids}

    def older(self, *pids: int) -> None:
        self._superseded = {"m": pids}


class Serve(Supervisor):
    def __init__(self) -> None:
        self.ended: list[int] = []

    def end(self, pid: int) -> bool:
        self.ended.append(pid)
        return True


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.stubs, self.serve = Processes(), Serve()
        self.outliving = Outliving(self.stubs, self.serve, PATIENCE - 1, lambda: self.now)

    def look(self, states: dict[str, str], *busy: str, after: float = 0.0) -> list[int]:
        """Those that it ended, so many seconds later."""
        self.now += after
        self.serve.ended.clear()
        self.outliving.look(states, busy)
        return self.serve.ended


def test_what_serves_is_never_ended() -> None:
    bench = Bench()
    for _ in range(5):
        assert bench.look(READY, after=100) == []
        assert not bench.outliving.due


@pytest.mark.parametrize("state", [{}, {"m": "UNAVAILABLE", "m/1": "UNAVAILABLE"}, {"m": "UNLOADING"}, {"n": "READY"}])
def test_processes_of_what_is_not_loaded_are_ended_when_their_time_is_over(state: dict[str, str]) -> None:
    bench = Bench()
    assert bench.look(state) == []
    assert bench.look(state, after=PATIENCE - 0.01) == []
    assert not bench.outliving.due
    assert bench.look(state, after=0.01) == [11, 12]
    assert bench.outliving.due
    # Until they are gone.
    assert bench.look(state, after=1) == [11, 12]
    bench.stubs._pids = {}
    assert bench.look(state, after=1) == []
    assert not bench.outliving.due


def test_one_in_whose_place_another_runs_is_ended_and_the_other_is_not() -> None:
    bench = Bench()
    bench.stubs.older(11)
    assert bench.look(READY) == []
    assert bench.look(READY, after=PATIENCE) == [11]


def test_no_process_is_ended_at_first_sight() -> None:
    """The states are older than the processes: it may have begun to load in between."""
    bench = Bench()
    bench.now += 1000
    assert bench.look({}) == []
    assert bench.look({"m": "LOADING"}, after=PATIENCE) == []
    assert bench.look(READY, after=PATIENCE) == []
    assert not bench.outliving.due


def test_their_time_runs_from_the_unloading_on() -> None:
    bench = Bench()
    bench.outliving.unloading(["m"])
    bench.stubs._pids = {"m": (11, 12, 21, 22)}
    bench.stubs.older(11, 12)
    bench.now += PATIENCE - 0.5
    # Told twice: the first counts.
    bench.outliving.unloading(["m"])
    assert not bench.outliving.due
    bench.now += 0.5
    assert bench.outliving.due
    assert bench.look(READY) == [11, 12]


@pytest.mark.parametrize("loading", [{"m": "READY", "m/1": "READY", "m/2": "LOADING"}, {"m/1": "LOADING"}, READY])
def test_while_the_model_is_loaded_nothing_is_ended_and_nothing_forgotten(loading: dict[str, str]) -> None:
    """The old one serves until the new one does, however long its load takes."""
    bench = Bench()
    bench.outliving.unloading(["m"])
    bench.stubs._pids = {"m": (11, 21)}
    bench.stubs.older(11)
    busy = ("m",) if loading is READY else ()
    for _ in range(5):
        assert bench.look(loading, *busy, after=PATIENCE) == []
    assert bench.look(READY) == [11]


def test_a_model_that_stayed_after_all_is_left_alone() -> None:
    bench = Bench()
    bench.outliving.unloading(["m"])
    assert bench.look(READY, after=PATIENCE) == []
    assert not bench.outliving.due


def test_where_its_processes_are_not_ours_nothing_is_done() -> None:
    for stubs, supervisor in ((None, None), (None, Serve()), (Processes(), None)):
        now = [0.0]
        outliving = Outliving(stubs, supervisor, 0, lambda now=now: now[0])  # type: ignore[misc]
        outliving.unloading(["m"])
        now[0] = 100
        outliving.look({}, ())
        assert not isinstance(supervisor, Serve) or supervisor.ended == []
