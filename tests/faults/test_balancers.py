"""The end behind real load balancers: none of their requests is lost, while another server takes over."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults.balancers import balancing
from tests.support.servers import server as e2e
from tests.support.servers.ports import free_port, takes_connections
from tests.support.servers.server import ROOT, Server, environment, wait_for
from tests.support.servers.serving import serving
from tests.support.servers.steady import Steady

A_SECOND, SECONDS = 200, 12
SIGNAL_AFTER = 3.0
DRAIN = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    return models


@pytest.fixture(scope="module")
def staying(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The other server, which takes over."""
    with serving(models, tmp_path_factory.mktemp("staying")) as server:
        yield server


@contextlib.contextmanager
def adapter(server: Server, folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """An adapter alone on the Triton of a server, and its port."""
    port = free_port()
    settings = {
        "PORT": str(port),
        "SCHWIFT_DRAIN_SECONDS": str(DRAIN),
        "SCHWIFT_REPOSITORY": str(server.repository),
        "SCHWIFT_CONTROL_SOCKET": str(folder / "control"),
        "SCHWIFT_TRITON_HTTP": server.triton_http,
        "SCHWIFT_TRITON_GRPC": server.triton_grpc,
        "SCHWIFT_TRITON_KEY_FILE": str(server.triton_key_file),
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter"],
        cwd=folder,
        env=environment(folder, settings),
        stdin=subprocess.DEVNULL,
        # Under nohup the tests ignore it, and what they start would too.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    try:
        wait_for(lambda: takes_connections(port) and ready(port) == 200)
        yield process, port
    finally:
        # Its workers with it, where the test has failed.
        e2e.stop(process, signal.SIGINT)


def ready(port: int) -> int:
    return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code


def drain_behind(
    name: str, kept: bool, process: subprocess.Popen[bytes], port: int, staying: Server, folder: Path
) -> None:
    """SIGTERM to the process at `port`, under load through a balancer, of which every request must be answered."""
    other = urlsplit(staying.url).port
    assert other is not None
    with balancing(name, kept, port, other, folder) as front:
        wait_for(lambda: ready(front) == 200)
        steady = Steady(front, A_SECOND, SECONDS)
        steady.start()
        time.sleep(SIGNAL_AFTER)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: ready(port) == 503)
        told = time.monotonic() - began
        # Whoever comes meanwhile, whichever worker it meets.
        while time.monotonic() - began < DRAIN / 2:
            assert ready(port) == 503
            answer = httpx.post(f"http://127.0.0.1:{port}/predict/multiply", json={"features": [[1, 2, 3]]})
            assert (answer.status_code, answer.json()["predictions"]) == (200, [[2.5, 5.0, 7.5]])
            assert answer.headers["Connection"] == "close"
            time.sleep(0.1)
        code = process.wait(DRAIN + 3 * 25)
        took = time.monotonic() - began
        steady.join()
    print(f"{name}: {steady.seen}, {len(steady.lost)} lost; not ready after {told:.2f} s, ended after {took:.1f} s")
    assert steady.lost == []
    assert steady.seen == Counter({200: A_SECOND * SECONDS})
    assert code == 0
    assert took >= DRAIN


@pytest.mark.parametrize(
    ("name", "kept", "workers"),
    [("haproxy", True, "1"), ("haproxy", False, "2"), ("nginx", True, "2"), ("nginx", False, "1")],
)
def test_R34_no_request_is_lost_behind_a_balancer(
    staying: Server, tmp_path: Path, name: str, kept: bool, workers: str
) -> None:
    with adapter(staying, tmp_path, SCHWIFT_WORKERS=workers) as (process, port):
        drain_behind(name, kept, process, port, staying, tmp_path)
        assert not takes_connections(port)


def test_R34_nor_where_the_whole_server_ends(staying: Server, models: Path, tmp_path: Path) -> None:
    """With its Triton, whose end comes last."""
    server = e2e.start(models, tmp_path, SCHWIFT_DRAIN_SECONDS=str(DRAIN))
    port = urlsplit(server.url).port
    assert port is not None
    drain_behind("haproxy", True, server.process, port, staying, tmp_path)
    assert server.output.rstrip().endswith(f"stopping: requests are served for {DRAIN} s more\nstopped")


def test_R34_a_terminal_that_goes_away_drains_and_an_interrupt_ends_the_drain(staying: Server, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        process, port = stack.enter_context(adapter(staying, tmp_path, SCHWIFT_DRAIN_SECONDS="600"))
        idle = stack.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)))
        idle.request("GET", "/health/live")
        assert json.loads(idle.getresponse().read()) == {"status": "ok"}
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: ready(port) == 503)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert idle.sock.recv(1) == b""
