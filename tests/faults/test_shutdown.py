"""The end under load: what was accepted is answered, then nobody is, and nothing stays behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.load import Load
from tests.support.servers.ports import free_port
from tests.support.servers.server import ROOT, Server, environment, start, wait_for
from tests.support.servers.serving import serving

CLIENTS = 32
SLOW = """
import time


class Slow:
    def predict(self, X):
        time.sleep(float(X[0, 0]))
        return X
"""


def slow_and_multiply(folder: Path) -> Path:
    models = folder / "models"
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    sample_models.python_model(models, "slow", "model:Slow", SLOW, "[-1, 1]", "float32")
    return models


class Waiting:
    """Requests whose answers take long, each in a thread."""

    def __init__(self, server: Server, *seconds: float) -> None:
        self.answers: list[httpx.Response] = []
        self._threads = [threading.Thread(target=self._ask, args=(server, each)) for each in seconds]
        for thread in self._threads:
            thread.start()
        wait_for(lambda: in_flight(server) >= len(seconds))

    def join(self) -> list[httpx.Response]:
        for thread in self._threads:
            thread.join()
        return self.answers

    def _ask(self, server: Server, seconds: float) -> None:
        self.answers.append(server.post("predict", "slow", [[seconds]]))


def in_flight(server: Server) -> float:
    metrics = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in metrics if line.startswith("schwift_in_flight "))


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, "1"), (signal.SIGTERM, "2"), (signal.SIGINT, "1")])
def test_R21_a_signal_under_load_loses_nothing(tmp_path: Path, number: signal.Signals, workers: str) -> None:
    server = start(slow_and_multiply(tmp_path), tmp_path, SCHWIFT_WORKERS=workers)
    waiting = Waiting(server, 2.5, 2.75)
    load = Load(server.url)
    with load.from_clients(CLIENTS, until_refused=True):
        wait_for(lambda: load.answered() > 200)
        server.process.send_signal(number)
        began = time.monotonic()
        code = server.process.wait(40)
        took = time.monotonic() - began
    assert code == 0, server.output
    assert took <= 20
    # Each request that was accepted has its own numbers; each other one found nobody.
    assert load.faults == []
    assert load.codes == set()
    assert load.refused == CLIENTS
    answers = waiting.join()
    assert sorted(answer.json()["predictions"][0][0] for answer in answers) == [2.5, 2.75]
    assert [answer.headers["Connection"] for answer in answers] == ["close", "close"]
    assert server.output.rstrip().endswith("stopping\nstopped")


def test_R21_it_says_that_it_drains_while_it_does(tmp_path: Path) -> None:
    server = start(slow_and_multiply(tmp_path), tmp_path, SCHWIFT_DRAIN_SECONDS="3")
    address = urlsplit(server.url)
    assert address.hostname and address.port
    with contextlib.closing(http.client.HTTPConnection(address.hostname, address.port, timeout=10)) as kept:
        assert ask(kept, "GET", "/health/ready")[0] == 200
        waiting = Waiting(server, 4.0)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.output)
        wait_for(lambda: httpx.get(f"{server.url}/health/ready").status_code == 503)
        status, body, headers = ask(kept, "GET", "/health/ready")
        assert (status, body["status"]) == (503, "draining")
        assert (headers["Connection"], headers["Retry-After"]) == ("close", "1")
        assert server.post("predict", "multiply", [[1, 2, 3]]).json()["predictions"] == [[2.5, 5.0, 7.5]]
        wait_for(lambda: refuses(server))
    assert [answer.status_code for answer in waiting.join()] == [200]
    assert server.process.wait(20) == 0


def test_R21_no_worker_keeps_the_port_open(tmp_path: Path) -> None:
    server = start(slow_and_multiply(tmp_path), tmp_path, SCHWIFT_WORKERS="2")
    waiting = Waiting(server, 4.0)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses(server))
    assert waiting.answers == []
    assert [answer.status_code for answer in waiting.join()] == [200]
    assert server.process.wait(20) == 0


def test_R21_a_request_that_never_ends_is_told_so_within_the_bound(tmp_path: Path) -> None:
    """And so is a Triton that does not end: both together take 20 seconds at most."""
    server = start(slow_and_multiply(tmp_path), tmp_path, PREDICT_TIMEOUT_SECONDS="600")
    waiting = Waiting(server, 500.0)
    os.kill(pids.triton(server), signal.SIGSTOP)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(40) == 0, server.output
    assert time.monotonic() - began <= 20
    (answer,) = waiting.join()
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_R21_the_adapter_alone_ends_in_the_same_way(tmp_path: Path, workers: str) -> None:
    """As in a container of its own."""
    with serving(slow_and_multiply(tmp_path), tmp_path) as server:
        port = free_port()
        settings = {
            "PORT": str(port),
            "SCHWIFT_WORKERS": workers,
            "SCHWIFT_REPOSITORY": str(server.repository),
            "SCHWIFT_TRITON_HTTP": server.triton_http,
            "SCHWIFT_TRITON_GRPC": server.triton_grpc,
            "SCHWIFT_TRITON_KEY_FILE": str(server.triton_key_file),
        }
        adapter = subprocess.Popen(
            [sys.executable, "-m", "adapter"],
            cwd=tmp_path,
            env=environment(tmp_path, settings),
            stdin=subprocess.DEVNULL,
        )
        try:
            alone = replace(server, url=f"http://127.0.0.1:{port}")
            wait_for(lambda: not refuses(alone) and httpx.get(f"{alone.url}/health/ready").status_code == 200)
            waiting = Waiting(alone, 1.5)
            adapter.terminate()
            assert adapter.wait(20) == 0
            assert [answer.status_code for answer in waiting.join()] == [200]
        finally:
            adapter.kill()
            adapter.wait()
        assert server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200


def ask(
    connection: http.client.HTTPConnection, method: str, path: str
) -> tuple[int, dict[str, object], http.client.HTTPMessage]:
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()), answer.headers


def refuses(server: Server) -> bool:
    """Whether nobody may connect any more."""
    try:
        httpx.get(f"{server.url}/health/live")
    except httpx.ConnectError:
        return True
    return False
