"""The servers that are compared, each started on free ports of this machine and ended with the block."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers.server import ROOT, Server

_START_SECONDS = 60


@contextmanager
def naive(server: Server) -> Iterator[str]:
    """The naive adapter in front of the Triton of `server`; its address."""
    with _python("tests.bench.rig.naive", server.triton_grpc) as url:
        yield url


@contextmanager
def in_process(server: Server) -> Iterator[str]:
    """Our own HTTP and JSON with the models of `server` in the same process; its address."""
    with _python("tests.bench.rig.inprocess", str(server.repository)) as url:
        yield url


@contextmanager
def _python(module: str, argument: str) -> Iterator[str]:
    port = _free_port()
    process = subprocess.Popen([sys.executable, "-m", module, str(port), argument], cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/docs", process)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise SystemExit(f"error: nothing answers at {url}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
