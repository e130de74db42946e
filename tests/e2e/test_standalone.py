"""`schwift triton` and `python -m adapter` apart, as the containers run them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support.servers.server import READY_SECONDS, ROOT, environment, stop


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def test_triton_and_the_adapter_apart(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "multiply", tmp_path / "models" / "multiply")
    (tmp_path / "tmp").mkdir()
    port, http, grpc, metrics = free_ports(4)
    settings = environment(
        tmp_path,
        {
            "MODEL_DIRECTORY": str(tmp_path / "models"),
            "PORT": str(port),
            "SCHWIFT_TRITON_HTTP_PORT": str(http),
            "SCHWIFT_TRITON_GRPC_PORT": str(grpc),
            "SCHWIFT_TRITON_METRICS_PORT": str(metrics),
            "SCHWIFT_TRITON_HTTP": f"127.0.0.1:{http}",
            "SCHWIFT_TRITON_GRPC": f"127.0.0.1:{grpc}",
            "SCHWIFT_TRITON_METRICS": f"http://127.0.0.1:{metrics}/metrics",
        },
    )
    schwift = [sys.executable, "-m", "schwift"]
    subprocess.run([*schwift, "build-repo"], cwd=tmp_path, env=settings, check=True, stdout=subprocess.DEVNULL)
    commands = ([*schwift, "triton"], [sys.executable, "-m", "adapter"])
    with open(tmp_path / "log", "wb") as log:
        processes = [
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for command in commands
        ]
    try:
        wait_ready(f"http://127.0.0.1:{port}", tmp_path / "log")
        answer = httpx.post(f"http://127.0.0.1:{port}/predict_batched/multiply", json={"features": [[1, 2, 3]]})
        assert (answer.status_code, answer.json()["predictions"]) == (200, [[2.5, 5.0, 7.5]])
        assert "nv_inference_count" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        # Triton took the place of the process that we started: it is what the signal reaches.
        assert os.readlink(f"/proc/{processes[0].pid}/exe").endswith("tritonserver")
        regions = region_prefix(processes[0].pid)
        assert list(Path("/dev/shm").glob(f"{regions}*")) != []
        assert stop(processes[1]) == 0
        assert stop(processes[0]) == 0
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    assert list(Path("/dev/shm").glob(f"{regions}*")) == []


def region_prefix(triton: int) -> str:
    """What this Triton's shared memory begins with; nobody else's does."""
    command = Path(f"/proc/{triton}/cmdline").read_bytes().decode()
    return command.split("shm-region-prefix-name=")[1].split("\0")[0]


def wait_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8", errors="replace")
        time.sleep(0.1)
