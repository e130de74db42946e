"""The adapter's own sleep: whatever keeps its event loop from turning, no model is taken for one that hangs."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import time
from pathlib import Path

from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.asking import health, metric, ready
from tests.support.servers.load import Load
from tests.support.servers.server import ROOT, Server, wait_for
from tests.support.servers.serving import serving

DEADLINE = 4.0
CLIENTS = 8
# Answers as late as its file says, and says when it has begun.
LATE = """
import time
from pathlib import Path

FOLDER = Path({folder!r})


class Late:
    def predict(self, X):
        seconds = float((FOLDER / "seconds").read_text())
        if seconds:
            (FOLDER / "begun").touch()
        time.sleep(seconds)
        return X
"""


def make_models(folder: Path) -> Path:
    models = folder / "models"
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    sample_models.python_model(models, "late", "model:Late", LATE.format(folder=str(folder)), "[-1, 1]", "float32")
    (folder / "seconds").write_text("0")
    return models


def stopped(processes: list[int], seconds: float) -> None:
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in processes:
        os.kill(pid, signal.SIGCONT)


def answer_more(*loads: Load) -> None:
    for load in loads:
        count = load.answered() + 50
        wait_for(functools.partial(load.has_answered, count))


def assert_no_model_was_touched(server: Server, stubs: list[int]) -> None:
    assert metric(server, "schwift_model_recoveries_total") == 0, server.output
    assert sorted(pids.stubs(server)) == stubs
    assert {model["breaker"] for model in health(server)["models"].values()} == {"closed"}
    assert metric(server, "schwift_breaker_opened_total") == 0
    assert ready(server)


def test_R35_a_model_that_was_late_while_the_adapter_slept_is_not_killed(tmp_path: Path) -> None:
    """Asked by a probe before, and answered within the time that somebody was there to wait for it."""
    with serving(make_models(tmp_path), tmp_path, PREDICT_TIMEOUT_SECONDS=str(DEADLINE)) as server:
        stubs = sorted(pids.stubs(server))
        load = Load(server.url)
        with load.from_clients(CLIENTS):
            wait_for(lambda: load.has_answered(100))
            (tmp_path / "seconds").write_text(str(2 * DEADLINE))
            wait_for((tmp_path / "begun").exists)
            began = time.monotonic()
            (tmp_path / "seconds").write_text("0")
            stopped(pids.adapters(server), 2 * DEADLINE - 1.5)
            asked = load.answered()
            wait_for(lambda: load.has_answered(asked + 100))
            # Passes of the reconciler, with the model's answer and after it.
            time.sleep(max(0.0, began + 2 * DEADLINE + 2.5 - time.monotonic()))
        assert load.faults == []
        # The deadline of those in flight has passed: they are told so, and nobody else is told anything.
        assert load.statuses <= {200, 504}
        assert load.seen[504, "deadline_exceeded"] <= CLIENTS
        assert server.post("predict", "late", [[3.0]]).json()["predictions"] == [[3.0]]
        assert_no_model_was_touched(server, stubs)


def test_R35_of_two_workers_either_may_sleep(tmp_path: Path) -> None:
    """The one that leads too: for three times the deadline, with requests in flight in both."""
    with serving(make_models(tmp_path), tmp_path, SCHWIFT_WORKERS="2", PREDICT_TIMEOUT_SECONDS="2") as server:
        stubs = sorted(pids.stubs(server))
        workers = [pid for pid in pids.adapters(server) if pid != pids.adapter(server)]
        assert len(workers) == 2
        load, batched = Load(server.url), Load(server.url, "predict_batched")
        with load.from_clients(CLIENTS), batched.from_clients(CLIENTS):
            for asleep in ([workers[0]], [workers[1]], workers):
                answer_more(load, batched)
                stopped(asleep, 6)
            answer_more(load, batched)
        assert load.faults + batched.faults == []
        assert load.statuses | batched.statuses <= {200, 504}
        assert_no_model_was_touched(server, stubs)
