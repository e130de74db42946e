"""Processes that die, hang or are stopped while they serve: what clients see meanwhile, and that it mends itself."""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.load import Load
from tests.support.servers.ports import free_port
from tests.support.servers.server import READY_SECONDS, ROOT, Server, launch, start, stop, wait_for
from tests.support.servers.serving import serving

CLIENTS = 8
# A stopped process is in here, then, and holds no lock that Triton would wait for.
SLOW = """
import time


class Multiply:
    def predict(self, X):
        time.sleep(0.02)
        return X * 2.5
"""


def one_example(folder: Path, name: str = "multiply") -> Path:
    models = folder / "models"
    shutil.copytree(ROOT / "models" / name, models / name)
    return models


def healthy(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def said(server: Server, text: str) -> bool:
    return text in server.output


def live(server: Server) -> bool:
    return httpx.get(f"{server.url}/health/live", timeout=2).status_code == 200


def assert_serves(server: Server) -> None:
    for endpoint in ("predict", "predict_batched"):
        assert server.post(endpoint, "multiply", [[1, 2, 3]]).json()["predictions"] == [[2.5, 5.0, 7.5]]


def test_R1_triton_is_killed(tmp_path: Path) -> None:
    with serving(one_example(tmp_path), tmp_path) as server:
        load = Load(server.url)
        old = [pids.triton(server), *pids.stubs(server)]
        assert len(old) == 3
        with load.from_clients(CLIENTS):
            wait_for(lambda: load.answered() > 100)
            pids.kill(old[0])
            killed = time.monotonic()
            wait_for(lambda: "upstream_down" in load.codes)
            assert live(server)
            wait_for(partial(load.has_answered, 100 + load.answered()), 10)
            assert load.last[200] - killed < 10
        assert load.faults == []
        assert load.statuses == {200, 503}
        assert load.codes <= {"upstream_down", "breaker_open", "model_unavailable", "model_process_dead"}
        assert load.refused == 0
        # Nothing of the old one is left; the new one is where the old one was.
        assert not [pid for pid in old if pids.alive(pid)]
        assert httpx.get(f"http://{server.triton_http}/v2/health/live").status_code == 200
        assert "Triton was ended by signal 9 (SIGKILL); it is started again in 0.1 s" in server.output
        wait_for(lambda: "Triton is back" in server.output)
        wait_for(lambda: healthy(server))
        assert_serves(server)


def test_R1_triton_is_killed_before_serve_has_seen_it_work(tmp_path: Path) -> None:
    """Serve looks each tenth of a second; a Triton that died in between is none that cannot start."""
    port = free_port()
    process, log = launch(one_example(tmp_path), tmp_path, "--port", str(port))
    server = Server(
        process=process, url=f"http://127.0.0.1:{port}", log=log, triton_http="", triton_grpc="", triton_metrics="",
        repository=tmp_path / "model_repository",
    )  # fmt: skip
    try:
        wait_for(lambda: pids.adapters(server) and pids.tritons(server), READY_SECONDS, pause=0.005)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: healthy(server), READY_SECONDS)
        (triton,) = pids.tritons(server)
        os.kill(triton, signal.SIGKILL)
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: said(server, "ready: 1 of 1") or process.poll() is not None, READY_SECONDS)
        wait_for(lambda: said(server, "Triton was ended by signal 9 (SIGKILL)"))
        wait_for(lambda: pids.tritons(server) not in ([], [triton]))
        wait_for(lambda: server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200)
        assert_serves(server)
    finally:
        assert stop(process) == 0


def test_R1_triton_is_killed_again_and_again(tmp_path: Path) -> None:
    """Also while it starts and while models load; each time it is said, with a longer pause."""
    with serving(one_example(tmp_path), tmp_path) as server:
        for pause in ("0.1", "0.2", "0.4", "0.8"):
            wait_for(lambda: pids.tritons(server))
            pids.kill(pids.triton(server))
            wait_for(partial(said, server, f"it is started again in {pause} s"))
        wait_for(lambda: healthy(server))
        assert_serves(server)


def test_R2_triton_is_stopped_and_goes_on(tmp_path: Path) -> None:
    with serving(one_example(tmp_path), tmp_path, PREDICT_TIMEOUT_SECONDS="2") as server:
        process = pids.triton(server)
        os.kill(process, signal.SIGSTOP)
        began = time.monotonic()
        answer = server.post("predict", "multiply", [[1, 2, 3]])
        took = time.monotonic() - began
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        assert 1.9 < took < 4
        for _ in range(10):
            assert live(server)
            time.sleep(0.2)
        assert pids.state(process) == "T"
        os.kill(process, signal.SIGCONT)
        wait_for(lambda: healthy(server) and server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200)
        assert_serves(server)
        assert pids.triton(server) == process
        assert "started again" not in server.output


def test_R2_triton_hangs_for_too_long(tmp_path: Path) -> None:
    with serving(one_example(tmp_path), tmp_path, SCHWIFT_TRITON_HANG_SECONDS="3") as server:
        old = [pids.triton(server), *pids.stubs(server)]
        os.kill(old[0], signal.SIGSTOP)
        wait_for(lambda: "Triton did not answer for 3 s and was killed" in server.output)
        wait_for(lambda: healthy(server))
        assert not [pid for pid in old if pids.alive(pid)]
        assert_serves(server)


@pytest.mark.parametrize(("stopped", "regime", "workers"), [
    ("multiply_direct", "busy", "1"), ("multiply_direct", "rush", "2"), ("multiply", "busy", "1"),
])  # fmt: skip
def test_R6_a_process_that_was_taken_for_dead_goes_on(tmp_path: Path, stopped: str, regime: str, workers: str) -> None:
    """The pinned Triton reads what it answers late as the answer to the next call, or ends over it."""
    models = tmp_path / "models"
    sample_models.python_model(models, "multiply", "model:Multiply", SLOW, "[-1, 3]", "float32")
    # Calls that Triton swallowed would wait for that long, and all others behind them.
    settings = {"SCHWIFT_REGIME": regime, "SCHWIFT_WORKERS": workers, "PREDICT_TIMEOUT_SECONDS": "60"}
    with serving(models, tmp_path, **settings) as server:
        loads = [Load(server.url, endpoint) for endpoint in ("predict", "predict_batched")]
        with loads[0].from_clients(4), loads[1].from_clients(4):
            for load in loads:
                wait_for(partial(load.has_answered, 100))
            process = pids.stubs(server, stopped)[0]
            os.kill(process, signal.SIGSTOP)
            wait_for(lambda: any("model_process_dead" in load.codes for load in loads), pause=0.001)
            os.kill(process, signal.SIGCONT)
            for load in loads:
                wait_for(partial(load.has_answered, 100 + load.answered()), 40)
        for load in loads:
            assert load.faults == []
            assert load.statuses <= {200, 503}
            assert load.codes <= {"upstream_down", "breaker_open", "model_unavailable", "model_process_dead"}
            assert load.refused == 0
        wait_for(lambda: healthy(server))
        assert not pids.alive(process)
        assert_serves(server)
        assert said(server, "a process of the model died; it is loaded again") or said(server, "Triton was ended")


def test_R4_triton_restarts_under_load(tmp_path: Path) -> None:
    """It is asked to end, and so ends its models one by one under the requests in flight."""
    with serving(one_example(tmp_path), tmp_path) as server:
        load = Load(server.url)
        with load.from_clients(CLIENTS):
            wait_for(lambda: load.answered() > 100)
            os.kill(pids.triton(server), signal.SIGTERM)
            wait_for(lambda: "Triton is back" in server.output)
            wait_for(lambda: healthy(server))
            wait_for(partial(load.has_answered, 100 + load.answered()))
        assert load.faults == []
        assert load.statuses == {200, 503}
        assert load.refused == 0
        assert server.output.count("Triton ended with code") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_adapter_is_killed(tmp_path: Path, workers: str) -> None:
    """Its port stays open: who comes meanwhile waits a moment, and is not refused."""
    with serving(one_example(tmp_path), tmp_path, SCHWIFT_WORKERS=workers) as server:
        triton, old = pids.triton(server), pids.adapter(server)
        pids.kill(old)
        wait_for(lambda: "the adapter was ended by signal 9 (SIGKILL); it is started again in 0.1 s" in server.output)
        assert httpx.get(f"{server.url}/health/live", timeout=20).status_code == 200
        wait_for(lambda: healthy(server))
        assert_serves(server)
        assert pids.triton(server) == triton
        assert pids.adapter(server) != old


@pytest.mark.parametrize("workers", ["1", "2"])
def test_R34_an_adapter_that_is_told_to_end_alone_leaves_an_open_port(tmp_path: Path, workers: str) -> None:
    """By whoever sends SIGTERM to it, or to one of its workers, and not to the server: another takes its place."""
    with serving(one_example(tmp_path), tmp_path, SCHWIFT_WORKERS=workers) as server:
        first = pids.adapter(server)
        told = first if workers == "1" else pids.children(first)[0]
        os.kill(told, signal.SIGTERM)
        wait_for(lambda: not pids.alive(told))
        # Where a sibling serves on, it does so all the time.
        for _ in range(20 if workers == "2" else 0):
            assert httpx.get(f"{server.url}/health/live", timeout=20).status_code == 200
        wait_for(lambda: len(pids.children(pids.adapter(server))) == 2 if workers == "2" else pids.adapters(server))
        for _ in range(20):
            assert httpx.get(f"{server.url}/health/live", timeout=20).status_code == 200
        wait_for(lambda: healthy(server))
        assert_serves(server)


def test_a_stuck_process_of_a_model_is_killed_on_demand(tmp_path: Path) -> None:
    """As the adapter demands it: a line in the pipe that it inherited."""
    with serving(one_example(tmp_path), tmp_path) as server:
        (stuck,), fronts = pids.stubs(server, "multiply_direct"), pids.stubs(server, "multiply")
        os.kill(stuck, signal.SIGSTOP)
        process = pids.adapter(server)
        pipe = pids.environment(process)["SCHWIFT_SUPERVISOR_FD"]
        with open(f"/proc/{process}/fd/{pipe}", "wb", buffering=0) as demands:
            demands.write(b"\xff" * 5000 + b"\nkill no_such\nkill mult")
            demands.write(b"iply_direct\nkill ../multiply\n")
        wait_for(lambda: "multiply_direct: 1 stuck process killed" in server.output)
        assert "no_such: 0 stuck processes killed" in server.output
        wait_for(lambda: not pids.alive(stuck))
        assert [pid for pid in fronts if pids.alive(pid)] == fronts
        wait_for(lambda: server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200)
        assert_serves(server)
        assert "Triton ended" not in server.output


def test_a_killed_serve_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """Some of its processes hear of its death and end; the stopped ones would stay for ever."""
    models = one_example(tmp_path)
    first = start(models, tmp_path)
    old = [pids.triton(first), *pids.stubs(first), pids.adapter(first)]
    stopped = [pids.triton(first), *pids.stubs(first, "multiply_direct")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    pids.kill(first.process.pid)
    first.process.wait(10)
    assert all(pids.alive(pid) for pid in stopped)
    with serving(models, tmp_path) as second:
        assert not [pid for pid in old if pids.alive(pid)]
        assert len(list((tmp_path / "tmp").glob("schwift-serve-*"))) == 1
        assert f"removed what an earlier serve left that was killed (process {first.process.pid})" in second.output
        # A third one finds a living one, and leaves it alone.
        third = start(models, tmp_path / "third", TMPDIR=str(tmp_path / "tmp"))
        assert_serves(second)
        assert "removed" not in third.output
        assert stop(third.process) == 0
        assert_serves(second)


def test_death_of_serve_ends_its_children(tmp_path: Path) -> None:
    """kill -9 leaves nobody to clean up: the kernel tells the children."""
    server = start(one_example(tmp_path), tmp_path)
    everybody = [pids.triton(server), *pids.stubs(server), pids.adapter(server)]
    pids.kill(server.process.pid)
    server.process.wait(10)
    wait_for(lambda: not [pid for pid in everybody if pids.alive(pid)])
    assert [pid for pid in everybody if pids.alive(pid)] == []
    # Its folder, with its note, is what the next one goes by.
    shutil.rmtree(next((tmp_path / "tmp").glob("schwift-serve-*")))
