"""Models that die, hang, are slow or grow: what their clients get, that others notice nothing, and that it mends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import moods, pids
from tests.support.servers.asking import Answer, ask, at_once, codes, get, health, live, metric, ready
from tests.support.servers.moods import calm_goes_on
from tests.support.servers.on_time import one_of_three, within
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

# A request's deadline in most of these tests, in seconds.
DEADLINE = 1.5
# From when a death is seen until the model serves again.
MENDED_SECONDS = 5.0
# Until a model that hangs is found out: a moment without an answer, a probe's deadline, and the reconciler's passes.
FOUND_OUT_SECONDS = 2 + DEADLINE + 3


@contextmanager
def moody(folder: Path, more: str = "", deadline: float = DEADLINE, **settings: str) -> Iterator[Server]:
    with serving(moods.write(folder, more), folder, PREDICT_TIMEOUT_SECONDS=str(deadline), **settings) as server:
        yield server


def well(server: Server, endpoint: str = "predict", name: str = "moody") -> bool:
    answer = ask(server, name, [[3.0, 4.0]], endpoint)
    return answer.status == 200 and answer.body["predictions"] == [[6.0, 8.0]]


def assert_well(server: Server, name: str = "moody") -> None:
    for endpoint in ("predict", "predict_batched"):
        assert well(server, endpoint, name)
    assert health(server, name)["state"] == "ready"


def mended_within(server: Server, seconds: float, name: str = "moody", alone: bool = True) -> None:
    """From now: not ready, and then ready and well; so is the whole server, where nothing else was broken."""
    began = time.monotonic()
    wait_for(lambda: ready(server) if alone else health(server, name)["state"] == "ready", 4 * seconds)
    assert_well(server, name)
    within(time.monotonic() - began, seconds)


def recoveries(server: Server, **labels: str) -> float:
    return metric(server, "schwift_model_recoveries_total", **labels)


@pytest.mark.timed
def test_R2_a_stopped_triton_opens_the_breaker_and_resumes(tmp_path: Path) -> None:
    with moody(tmp_path) as server:
        opened = 0

        def attempt() -> None:
            nonlocal opened
            opened += 1
            answers, refused = stopped_and_resumed(server, opened)
            wait_for(lambda: ready(server) and well(server))
            wait_for(lambda: well(server) and health(server, "moody")["breaker"] == "closed")
            assert_well(server)
            within(max(answer.seconds for answer in answers), DEADLINE + 0.5)
            within(max(answer.seconds for answer in refused), 0.2)

        one_of_three(attempt)


def stopped_and_resumed(server: Server, opened: int) -> tuple[list[Answer], list[Answer]]:
    """What waits for a Triton that is stopped, and what is refused once `moody`'s breaker has opened so many times."""
    process = pids.triton(server)
    os.kill(process, signal.SIGSTOP)
    try:
        answers = at_once(25, lambda _: ask(server, "moody", [[1.0, 2.0]]))
        assert codes(answers) == [(504, "deadline_exceeded")] * 25
        refused = [ask(server, "moody", [[1.0, 2.0]]) for _ in range(5)]
        assert {answer.code for answer in refused} <= {"breaker_open", "upstream_down"}
        assert refused[0].code == "breaker_open"
        assert all(answer.retry_after >= 1 for answer in refused)
        assert live(server)
        assert health(server, "moody")["breaker"] in ("open", "half_open")
        assert health(server, "calm")["breaker"] == "closed"
        assert metric(server, "schwift_breaker_state", model_name="moody", state="closed") == 0
        assert metric(server, "schwift_breaker_opened_total", model_name="moody") == opened
    finally:
        os.kill(process, signal.SIGCONT)
    return answers, refused


@pytest.mark.timed
def test_R3_a_slow_model_is_504_on_time_and_leaks_no_place(tmp_path: Path) -> None:
    with moody(tmp_path) as server:

        def attempt() -> None:
            answers = [ask(server, "moody", [[moods.SLEEPS, 1.4 * DEADLINE]])]
            assert well(server)
            answers += at_once(8, lambda _: ask(server, "moody", [[moods.SLEEPS, 1.4 * DEADLINE]]))
            assert codes(answers) == [(504, "deadline_exceeded")] * 9
            assert metric(server, "schwift_in_flight") == 0
            wait_for(lambda: well(server))
            assert metric(server, "schwift_queued") == 0
            assert_well(server)
            for answer in answers:
                within(answer.seconds, DEADLINE + 0.1, DEADLINE - 0.05)

        one_of_three(attempt)


def killed(server: Server, model: str) -> None:
    pids.kill(pids.stubs(server, model)[0])


@pytest.mark.timed
@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_R5_a_model_that_ends_its_own_process_is_loaded_again(tmp_path: Path, endpoint: str) -> None:
    """Triton takes a second or more to tell of it; it may be loaded again by then."""
    with moody(tmp_path, deadline=2 * DEADLINE) as server, calm_goes_on(server):

        def attempt() -> None:
            before = recoveries(server, model_name="moody", reason="died")
            answer = ask(server, "moody", [[moods.DIES, 0.0]], endpoint)
            assert (answer.status, answer.code) == (503, "model_process_dead")
            assert answer.retry_after >= 1
            mended_within(server, MENDED_SECONDS)
            assert recoveries(server, model_name="moody", reason="died") == before + 1
            assert recoveries(server, model_name="calm") == 0

        one_of_three(attempt)


@pytest.mark.timed
@pytest.mark.parametrize("model", ["moody_direct", "moody"])
def test_R5_a_model_whose_process_is_killed_is_loaded_again(tmp_path: Path, model: str) -> None:
    """Without any request that would show it; its front is as good as the model."""
    with moody(tmp_path) as server, calm_goes_on(server):

        def attempt() -> None:
            before = recoveries(server, model_name="moody", reason="died")
            killed(server, model)
            wait_for(lambda: not ready(server), 5)
            assert health(server, "moody")["state"] in ("unavailable", "recovering")
            refused = ask(server, "moody", [[1.0, 2.0]])
            assert (refused.status, refused.code) == (503, "model_unavailable")
            assert refused.retry_after >= 1
            mended_within(server, MENDED_SECONDS)
            assert recoveries(server, model_name="moody", reason="died") == before + 1
            assert recoveries(server, model_name="calm") == 0

        one_of_three(attempt)


def test_R5_what_a_death_in_a_call_leaves_of_a_model_is_ended(tmp_path: Path) -> None:
    """Triton keeps the other fronts for ever, though it has unloaded the model; their requests are left their time."""
    with serving(
        moods.write(tmp_path, "  instances: 2\n"), tmp_path, PREDICT_TIMEOUT_SECONDS="2", SCHWIFT_REGIME="busy"
    ) as server:
        triton, count = pids.triton(server), len(pids.stubs(server))
        old = set(pids.stubs(server, "moody"))

        def slow(number: int) -> Answer:
            time.sleep(0.1 * number)
            return ask(server, "moody", [[moods.SLEEPS, 0.8]], "predict_batched")

        with ThreadPoolExecutor(2) as clients:
            answers = [clients.submit(slow, number) for number in range(2)]
            wait_for(lambda: metric(server, "schwift_in_flight") == 2)
            killed(server, "moody")
            assert {answer.result().status for answer in answers} <= {200, 503, 504}
        wait_for(lambda: "which nobody could reach any more, killed" in server.output)
        wait_for(lambda: well(server) and not old & set(pids.stubs(server)))
        assert_well(server)
        assert len(pids.stubs(server)) == count
        assert pids.triton(server) == triton
        assert recoveries(server, model_name="moody") == 1


def test_R5_a_model_that_dies_again_and_again_is_left_with_its_reason(tmp_path: Path) -> None:
    with moody(tmp_path, deadline=2 * DEADLINE) as server, calm_goes_on(server):
        for _ in range(5):
            wait_for(lambda: ask(server, "moody", [[moods.DIES, 0.0]]).code == "model_process_dead", 15)
        wait_for(lambda: health(server, "moody")["state"] == "failed")
        assert health(server, "moody")["reason"] == (
            "a process of the model died, 5 times within 10 minutes: it is left until it is built anew"
        )
        assert get(server, "/health/ready")[0] == 503
        refused = ask(server, "moody", [[1.0, 2.0]])
        assert (refused.status, refused.code, refused.retry_after) == (503, "model_unavailable", 30)
        wait_for(lambda: pids.stubs(server, "moody_direct") == [])


def test_R5_with_several_workers_all_know_of_it(tmp_path: Path) -> None:
    with moody(tmp_path, SCHWIFT_WORKERS="3") as server:
        killed(server, "moody_direct")
        wait_for(lambda: not all(ready(server) for _ in range(12)), 5)
        wait_for(lambda: all(ready(server) and well(server) for _ in range(12)))
        assert recoveries(server, model_name="moody", reason="died") == 1


@pytest.mark.timed
@pytest.mark.parametrize("mood", [moods.LOOPS, moods.LOOPS_IN_C], ids=["loop", "loop in C"])
@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_R6_a_model_that_loops_is_ended_and_loaded_again(tmp_path: Path, mood: float, endpoint: str) -> None:
    regime = "busy" if endpoint == "predict_batched" else ""
    with moody(tmp_path, SCHWIFT_REGIME=regime) as server, calm_goes_on(server):

        def attempt() -> None:
            before = recoveries(server, model_name="moody", reason="hung")
            old = pids.stubs(server, "moody_direct")
            answer = ask(server, "moody", [[mood, 0.0]], endpoint)
            assert (answer.status, answer.code) == (504, "deadline_exceeded")
            wait_for(lambda: recoveries(server, model_name="moody", reason="hung") == before + 1)
            mended_within(server, MENDED_SECONDS)
            assert not any(pids.alive(pid) for pid in old)
            assert len(pids.stubs(server, "moody_direct")) == 1
            assert metric(server, "schwift_stuck_processes_total") == 0
            within(answer.seconds, DEADLINE + 0.5)

        one_of_three(attempt)


@pytest.mark.timed
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "idle"])
def test_R6_a_model_whose_process_is_stopped_is_ended_and_loaded_again(tmp_path: Path, asked: bool) -> None:
    """One model's own process and another's front are stopped at once: it takes a while to find out."""
    models = moods.write(tmp_path, others=["sullen"])
    settings = {"PREDICT_TIMEOUT_SECONDS": str(DEADLINE), "SCHWIFT_REGIME": "busy"}
    with serving(models, tmp_path, **settings) as server, calm_goes_on(server):

        def stop_one(name: str, triton_model: str) -> float:
            """The seconds in which it was found out."""
            old = pids.stubs(server, triton_model)
            for pid in old:
                os.kill(pid, signal.SIGSTOP)
            stopped = time.monotonic()
            if asked:
                answer = ask(server, name, [[1.0, 2.0]], "predict_batched")
                assert (answer.status, answer.code) in ((504, "deadline_exceeded"), (503, "model_process_dead"))
            wait_for(lambda: health(server, name)["state"] != "ready" and not ready(server), 60)
            found_out = time.monotonic() - stopped
            mended_within(server, MENDED_SECONDS, name, alone=False)
            wait_for(lambda: not any(pids.alive(pid) for pid in old))
            return found_out

        def attempt() -> None:
            with ThreadPoolExecutor(2) as pool:
                for found_out in pool.map(stop_one, ("moody", "sullen"), ("moody_direct", "sullen")):
                    within(found_out, 10 + FOUND_OUT_SECONDS)
            wait_for(lambda: ready(server), MENDED_SECONDS)

        one_of_three(attempt)


def test_R6_a_model_that_is_slow_but_goes_on_is_left_alone(tmp_path: Path) -> None:
    """Each call takes most of the deadline, one after the other, for a while."""
    with moody(tmp_path) as server:
        old = pids.stubs(server)
        for _ in range(6):
            assert ask(server, "moody", [[moods.SLEEPS, 0.8 * DEADLINE]]).status == 200
        assert pids.stubs(server) == old
        assert recoveries(server) == 0


def test_R6_models_that_hang_keep_no_others_from_the_cores(tmp_path: Path) -> None:
    """Quick models take turns on the cores, of which these hold as many as a small machine has."""
    hanging, others = ("moody", "sulky"), ("calm", "brisk")
    models = moods.write(tmp_path, others=["sulky", "brisk"])
    with serving(models, tmp_path, PREDICT_TIMEOUT_SECONDS="20") as server, ThreadPoolExecutor(8) as pool:
        for name in (*hanging, *others):
            assert all(well(server, name=name) for _ in range(20))
        hung = [pool.submit(ask, server, name, [[moods.SLEEPS, 6.0]]) for name in hanging]
        wait_for(lambda: metric(server, "schwift_in_flight") == 2)
        behind = [pool.submit(well, server, "predict", name) for name in (*hanging, *hanging)]
        wait_for(lambda: metric(server, "schwift_in_flight") == 6)
        answers = at_once(40, lambda number: ask(server, others[number % 2], [[3.0, 4.0]]))
        assert [answer.body["predictions"] for answer in answers] == [[[6.0, 8.0]]] * 40
        assert not any(future.done() for future in hung)
        assert not any(future.done() for future in behind)
        assert [future.result().status for future in hung] == [200, 200]
        assert all(future.result() for future in behind)


def test_R6_clients_in_a_hurry_are_no_proof_that_a_model_hangs(tmp_path: Path) -> None:
    """Deadlines that no model could keep: neither the breaker nor the reconciler does anything."""
    with moody(tmp_path) as server:
        old = pids.stubs(server)
        ends = time.monotonic() + FOUND_OUT_SECONDS
        with ThreadPoolExecutor(4) as pool:

            def hurry(_: int) -> None:
                while time.monotonic() < ends:
                    answer = ask(server, "moody", [[moods.SLEEPS, 0.05]], x_request_timeout_ms="1")
                    assert (answer.status, answer.code) == (504, "deadline_exceeded")

            list(pool.map(hurry, range(4)))
        wait_for(lambda: well(server))
        assert pids.stubs(server) == old
        assert metric(server, "schwift_breaker_opened_total") == 0
        assert recoveries(server) == 0


@pytest.mark.timed
def test_R11_a_model_that_grows_is_loaded_again_at_its_bound(tmp_path: Path) -> None:
    with moody(tmp_path, "  max_memory_mb: 300\n") as server, calm_goes_on(server):
        assert 10 * 2**20 < metric(server, "schwift_model_memory_bytes", model_name="moody") < 300 * 2**20
        adapter = pids.adapter(server)

        def attempt() -> None:
            before = recoveries(server)
            assert ask(server, "moody", [[moods.LEAKS, 400.0]]).status == 200
            wait_for(lambda: recoveries(server, model_name="moody", reason="memory") == before + 1)
            mended_within(server, MENDED_SECONDS)
            wait_for(lambda: 0 < metric(server, "schwift_model_memory_bytes", model_name="moody") < 300 * 2**20)
            assert pids.adapter(server) == adapter
            assert recoveries(server) == before + 1

        one_of_three(attempt)
