"""Lines that have nowhere to go: the server serves on, counts them, and ends as it should."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.support.servers import pids
from tests.support.servers.asking import metric
from tests.support.servers.ports import free_port
from tests.support.servers.server import READY_SECONDS, ROOT, Server, environment, leftovers, marks, stop, wait_for

REQUESTS = 20


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "models" / "multiply", tmp_path / "models" / "multiply")
    return tmp_path / "models"


@contextlib.contextmanager
def serving(
    models: Path, folder: Path, output: int | IO[bytes], first_line: bool = False, **settings: str
) -> Iterator[Server]:
    """A server whose output goes there; of a pipe at most the `first_line` is read. It must end with 0."""
    (folder / "tmp").mkdir()
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "schwift", "serve", "--models", str(models), "--port", str(port)],
        cwd=folder,
        env=environment(folder, settings),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    server = Server(
        process=process, url=f"http://127.0.0.1:{port}", log=folder / "serve.log", triton_http="", triton_grpc="",
        triton_metrics="", repository=folder / "model_repository",
    )  # fmt: skip
    try:
        if process.stdout is not None:
            if first_line:
                assert process.stdout.readline() != b""
            process.stdout.close()
        wait_for(lambda: process.poll() is not None or is_ready(server), READY_SECONDS)
        assert process.poll() is None, f"it ended with {process.poll()}"
        marks(folder)
        yield server
    finally:
        code = stop(process)
    assert code == 0
    assert leftovers(folder) == []


def is_ready(server: Server) -> bool:
    # The port is open before anybody answers there.
    try:
        return httpx.get(f"{server.url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def ask(server: Server, count: int = 1) -> None:
    for number in range(count):
        answer = server.post("predict", "multiply", [[number, 2, 3]])
        assert answer.json()["predictions"] == [[2.5 * number, 5.0, 7.5]]


def kill_triton(server: Server) -> None:
    """Kill Triton, which gives the supervisor and the adapter lines to write."""
    before = pids.triton(server)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: [pid for pid in pids.tritons(server) if pid != before])
    # Only the new one can answer.
    wait_for(lambda: server.post("predict", "multiply", [[1, 2, 3]]).status_code == 200, READY_SECONDS)


def lost_in(server: Server, seconds: float) -> float:
    before = metric(server, "schwift_log_lines_lost_total")
    time.sleep(seconds)
    return metric(server, "schwift_log_lines_lost_total") - before


def test_R29_output_on_a_full_disk(models: Path, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, serving(models, tmp_path, full, SCHWIFT_ACCESS_LOG="all") as server:
        # The supervisor has asked how its models are for the last time.
        wait_for(lambda: lost_in(server, 0.5) == 1)
        before = metric(server, "schwift_log_lines_lost_total")
        ask(server, REQUESTS)
        # One for each request, and for each look at the metrics.
        assert metric(server, "schwift_log_lines_lost_total") == before + REQUESTS + 1
        kill_triton(server)
        ask(server)


def test_R29_output_to_a_reader_that_left(models: Path, tmp_path: Path) -> None:
    """As in `schwift serve | head -1`."""
    with serving(models, tmp_path, subprocess.PIPE, first_line=True) as server:
        kill_triton(server)
        ask(server)
        assert metric(server, "schwift_log_lines_lost_total") > 0


def test_R29_logs_on_a_full_disk_that_has_room_again_later(models: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(logs)], check=True)
    try:
        fill(logs / "filler")
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(open(logs / "output", "ab"))
            settings = {"DEBUG_MODE": "True", "LOG_DIRECTORY": str(logs), "SCHWIFT_LOG_FORMAT": "json"}
            server = stack.enter_context(serving(models, tmp_path, output, first_line=False, **settings))
            ask(server, REQUESTS)
            lost = metric(server, "schwift_log_lines_lost_total")
            assert lost >= REQUESTS
            kill_triton(server)
            (logs / "filler").unlink()
            ask(server)
            kill_triton(server)
            # Said before the end, and not in its midst.
            wait_for(lambda: (logs / "output").read_text(encoding="utf-8").endswith("Triton is back\n"))
            lines = [json.loads(line) for line in (logs / "schwift.log").read_text(encoding="utf-8").splitlines()]
            assert sum(line.get("lines_lost", 0) for line in lines) >= lost
            assert "predict" in [line.get("endpoint") for line in lines]
        said = (logs / "output").read_text(encoding="utf-8")
        assert "lines were lost here: No space left on device" in said
        assert said.rstrip().endswith("stopping\nstopped")
    finally:
        subprocess.run(["umount", "-l", str(logs)], check=True)


def fill(path: Path) -> None:
    """Until the disk has no room."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
