"""A wall clock that jumps while a server runs (R28): as adapter, Triton and models see it, and no other process."""

from __future__ import annotations

import math
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from converter.schema.triton_key import GRPC_HEADER
from tests.e2e import sample_models
from tests.support.servers import moods, pids
from tests.support.servers.asking import ask, codes, health, metric, ready
from tests.support.servers.factor_model import answer, put, schwift
from tests.support.servers.load import Load
from tests.support.servers.server import ROOT, Server, wait_for
from tests.support.servers.serving import serving

SHIM = Path(__file__).with_name("wall_clock.c")
HOUR = 3600
DEADLINE = 2.0
# After a jump: Triton may take what it has in hand for dead, and may end over it.
WELL_SECONDS = 15
TIMER_SECONDS = 2
MOST_HOURS = 5
CLOCK = """
import time


class Clock:
    def predict(self, X):
        return X * 0 + time.time()
"""


@pytest.fixture
def jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Put the wall clock of all that is started from now on so many seconds before or after the real one.

    By a library made here (needs cc): libfaketime 0.9.10 makes Python's sleep fail where the monotonic clock is real.
    """
    library, offset = tmp_path / "wall_clock.so", tmp_path / "offset"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SHIM, "-ldl", "-pthread"], check=True)

    def put(seconds: int) -> None:
        with open(offset, "r+b") as file:
            file.write(struct.pack("q", seconds))

    offset.write_bytes(struct.pack("q", 0))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WALL_CLOCK_OFFSET", str(offset))
    return put


def with_a_clock(folder: Path) -> Path:
    models = moods.write(folder)
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    sample_models.python_model(models, "clock", "model:Clock", CLOCK, "[-1, 1]", "float64")
    return models


def shift(server: Server) -> float:
    """How far the wall clock of a model's process is from ours."""
    answer = ask(server, "clock", [[0.0]])
    return float(answer.body["predictions"][0][0]) - time.time() if answer.status == 200 else math.nan


def well(server: Server) -> bool:
    return ask(server, "moody", [[3.0, 4.0]]).status == 200 and health(server, "moody")["breaker"] == "closed"


def test_R28_deadlines_and_an_open_breaker_go_by_another_clock(tmp_path: Path, jump: Callable[[int], None]) -> None:
    """It jumps while deadlines run, again while the breaker is open, and back while all begins again."""
    with serving(with_a_clock(tmp_path), tmp_path, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        old = server.process.pid, pids.adapter(server)
        for pid in (*old, pids.triton(server), *pids.stubs(server)):
            assert "wall_clock.so" in Path(f"/proc/{pid}/maps").read_text()
        for times, (first, second) in enumerate([(HOUR, -HOUR), (-HOUR, HOUR)], 1):
            stopped = pids.triton(server)
            os.kill(stopped, signal.SIGSTOP)
            with ThreadPoolExecutor(25) as pool:
                waiting = [pool.submit(ask, server, "moody", [[1.0, 2.0]]) for _ in range(25)]
                time.sleep(DEADLINE / 2)
                jump(first)
                answers = [each.result() for each in waiting]
            assert codes(answers) == [(504, "deadline_exceeded")] * 25
            assert min(answer.seconds for answer in answers) > DEADLINE - 0.05
            assert max(answer.seconds for answer in answers) < DEADLINE + 0.5
            jump(second)
            refused = ask(server, "moody", [[1.0, 2.0]])
            assert (refused.status, refused.code) == (503, "breaker_open")
            assert 1 <= refused.retry_after <= 4
            os.kill(stopped, signal.SIGCONT)
            jump(0)
            wait_for(lambda: ready(server) and well(server), WELL_SECONDS)
            assert metric(server, "schwift_breaker_opened_total", model_name="moody") == times
        assert metric(server, "schwift_in_flight") == 0
        assert (server.process.pid, pids.adapter(server)) == old


def is_well_at(server: Server, seconds: int) -> bool:
    return ready(server) and abs(shift(server) - seconds) < 60


def test_R28_requests_flow_on(tmp_path: Path, jump: Callable[[int], None]) -> None:
    """What Triton has in hand when the clock leaps ahead may fail, and no more (docs/resilience.md)."""
    with serving(with_a_clock(tmp_path), tmp_path, SCHWIFT_REGIME="busy") as server:
        loads = [Load(server.url, endpoint) for endpoint in ("predict", "predict_batched")]
        with loads[0].from_clients(4), loads[1].from_clients(4):
            for seconds in (HOUR, 0, -HOUR, 0):
                jump(seconds)
                wait_for(partial(is_well_at, server, seconds), WELL_SECONDS)
                for load in loads:
                    wait_for(partial(load.has_answered, 100 + load.answered()), WELL_SECONDS)
        for load in loads:
            assert load.faults == []
            assert load.statuses <= {200, 503}
            assert load.refused == 0
        # It is not taken for silent: where it is started again, it ended.
        assert "did not answer" not in server.output


def answers_loads(server: Server) -> bool:
    """Whether Triton's gRPC answers a load, which is of a model that it has."""
    with InferenceServerClient(server.triton_grpc) as triton:
        try:
            triton.load_model("other_direct", headers={GRPC_HEADER: server.triton_key}, client_timeout=2)
        except InferenceServerException as error:
            assert "Deadline Exceeded" in str(error)
            return False
    return True


def test_R28_models_are_loaded_though_triton_answers_no_loads(tmp_path: Path, jump: Callable[[int], None]) -> None:
    """Where the clock was set back, the timers of Triton's gRPC stand still, and its answers to loads with them."""
    models = tmp_path / "models"
    put(models, 3)
    put(models, 5, "other")
    with serving(models, tmp_path) as server:
        hours = 0
        while answers_loads(server):
            hours += 1
            assert hours <= MOST_HOURS, "no timer stood still"
            jump(-hours * HOUR)
            # The next timer that was set before is over by then; whatever comes before it would have set all going.
            time.sleep(TIMER_SECONDS)
        (died,) = pids.stubs(server, "times_direct")
        os.kill(died, signal.SIGKILL)
        recoveries = partial(metric, server, "schwift_model_recoveries_total", model_name="times", reason="died")
        wait_for(lambda: recoveries() == 1 and health(server, "times")["state"] == "ready", WELL_SECONDS)
        assert answer(server) == answer(server, endpoint="predict_batched") == 3.0
        put(models, 4)
        done = schwift(server, models, "reload")
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert answer(server) == answer(server, endpoint="predict_batched") == 4.0
        assert not answers_loads(server)
