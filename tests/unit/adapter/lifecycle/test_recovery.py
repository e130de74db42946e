"""The end of what hangs: in which order its processes are killed, how long each is waited for, and what is stuck."""

from __future__ import annotations

import asyncio

import pytest

from adapter.lifecycle.recovery import Recovery
from adapter.lifecycle.stub_processes import StubProcesses, SupervisorPipe
from tests.support.fakes.loop import in_counted_time
from tests.support.lifecycle.served_models import make_model

# The processes of a front, and of the model.
FRONTS, MODEL = (11, 12), 13
# Between the two, in which Triton notices that the model is gone; and how long each may take to end.
NOTICE_SECONDS, KILL_SECONDS = 1.5, 2.0


class Processes(StubProcesses):
    """Two of the front and one of the model. A killed one ends so many seconds later; one that is stuck never does."""

    def __init__(self, ends_after: float = 0.0) -> None:
        super().__init__("127.0.0.1:8001")
        self._pids = {"m": FRONTS, "m_direct": (MODEL,)}
        self.ends_after = ends_after
        self.stuck: set[int] = set()
        self.stopped: set[str] = set()
        self._end: dict[int, float] = {}

    def kill(self, model: str) -> None:
        for pid in self._pids.get(model, ()):
            if pid not in self.stuck:
                self._end.setdefault(pid, asyncio.get_running_loop().time() + self.ends_after)

    def alive(self, pid: int) -> bool:
        return asyncio.get_running_loop().time() < self._end.get(pid, float("inf"))

    def any_stopped(self, model: str) -> bool:
        return model in self.stopped


class Serve(SupervisorPipe):
    """Kills at once, and notes when."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.kills: list[tuple[str, float]] = []

    def kill(self, model: str) -> bool:
        self.kills.append((model, asyncio.get_running_loop().time()))
        self._processes.kill(model)
        return True


class Bench:
    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.serve = Serve(processes)
        self.whole = True
        self.model = make_model(whole=lambda _: self.whole)
        self._recovery = Recovery(processes, self.serve)

    async def end(self, *hung: str, reason: str = "hung") -> float:
        """What `hung` means is adapter/lifecycle/liveness.py's; the seconds that it took."""
        names = hung or (self._recovery.outliving_death(self.model) if reason == "died" else [])
        await self._recovery.end(self.model, names)
        return asyncio.get_running_loop().time()

    @property
    def stuck(self) -> float:
        return self.model.stuck.total()


@in_counted_time
async def test_R6_the_model_goes_before_a_front_that_waits_for_it() -> None:
    """Triton must have seen the end of the one before the other's: else it can end too."""
    bench = Bench(Processes())
    await bench.end("m", "m_direct")
    assert bench.serve.kills == [("m_direct", 0.0), ("m", NOTICE_SECONDS)]
    assert bench.stuck == 0


@in_counted_time
async def test_a_front_that_hangs_alone_takes_its_model_along_first() -> None:
    bench = Bench(Processes())
    await bench.end("m")
    assert bench.serve.kills == [("m_direct", 0.0), ("m", NOTICE_SECONDS)]
    assert not any(bench.processes.alive(pid) for pid in (*FRONTS, MODEL))


@in_counted_time
async def test_a_model_that_hangs_alone_leaves_its_front_alone_and_nothing_is_waited_for() -> None:
    bench = Bench(Processes())
    assert await bench.end("m_direct") == 0.0
    assert bench.serve.kills == [("m_direct", 0.0)]
    assert all(bench.processes.alive(pid) for pid in FRONTS)


@in_counted_time
async def test_nothing_goes_on_before_all_are_gone() -> None:
    """What is loaded next has processes of the same names."""
    bench = Bench(Processes(ends_after=0.4))
    took = await bench.end("m", "m_direct")
    ended = 0.4 + NOTICE_SECONDS + 0.4
    assert ended <= took < ended + 0.2
    assert bench.stuck == 0


@in_counted_time
async def test_R6_one_that_does_not_end_is_counted_and_holds_nobody_for_longer() -> None:
    bench = Bench(Processes())
    bench.processes.stuck = {MODEL}
    took = await bench.end("m", "m_direct")
    # Each kill waits for its own, and in between Triton has its moment.
    assert took == pytest.approx(KILL_SECONDS + NOTICE_SECONDS + KILL_SECONDS)
    assert [name for name, _ in bench.serve.kills] == ["m_direct", "m", "m_direct"]
    assert bench.stuck == 1


@in_counted_time
async def test_stopped_ones_are_ended_though_nothing_hangs() -> None:
    bench = Bench(Processes())
    bench.processes.stopped = {"m_direct"}
    await bench.end(reason="died")
    assert bench.serve.kills == [("m_direct", 0.0)]


@in_counted_time
async def test_where_nobody_is_missing_of_a_model_that_died_all_are_ended() -> None:
    """Triton took one for dead that goes on, and which of them it was nobody knows."""
    bench = Bench(Processes())
    bench.model.report_dead(bench.model.incarnation, "a test")
    await bench.end(reason="died")
    assert bench.serve.kills == [("m_direct", 0.0), ("m", NOTICE_SECONDS)]
    assert bench.stuck == 0


@pytest.mark.parametrize(("reason", "died"), [("memory", False), ("died", True)])
@in_counted_time
async def test_what_is_well_is_not_ended(reason: str, died: bool) -> None:
    """Those beside a process that died are well, and calls in them are answered."""
    bench = Bench(Processes())
    if died:
        bench.whole = False
        bench.model.report_dead(bench.model.incarnation, "a test")
    assert await bench.end(reason=reason) == 0.0
    assert bench.serve.kills == []
    assert bench.stuck == 0


@pytest.mark.parametrize("here", [True, False], ids=["nobody to kill them", "not on this machine"])
@in_counted_time
async def test_R6_where_they_are_not_ours_they_are_counted(here: bool) -> None:
    model = make_model()
    recovery = Recovery(Processes() if here else None, None)
    assert not recovery.can_end(["m", "m_direct"])
    await recovery.end(model, ["m", "m_direct"])
    assert model.stuck.total() == 2
