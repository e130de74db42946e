"""A server that runs out of file descriptors."""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.servers import pids
from tests.support.servers.server import ROOT, Server, wait_for
from tests.support.servers.serving import serving

# The adapter has some thirty of its own.
LIMIT = 64
CONNECTIONS = 150
# A connection that was closed before a byte of an answer.
REFUSED = ("ConnectError", "ReadError", "RemoteProtocolError")


def predict(client: httpx.Client, server: Server) -> httpx.Response:
    return client.post(f"{server.url}/predict/multiply", json={"features": [[1, 2, 3]]})


def answer_of(server: Server) -> str:
    """The status of one request on a new connection, or how it failed."""
    try:
        with httpx.Client(timeout=10) as client:
            response = predict(client, server)
    except httpx.TransportError as error:
        return type(error).__name__
    if response.status_code == 200:
        assert response.json()["predictions"] == [[2.5, 5.0, 7.5]]
    return str(response.status_code)


@pytest.mark.parametrize("connected", [True, False], ids=["connected to Triton", "not connected"])
def test_R23_few_file_descriptors(tmp_path: Path, connected: bool) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply")
    with serving(models, tmp_path) as server, contextlib.ExitStack() as stack:
        process = pids.adapter(server)
        resource.prlimit(process, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        kept = stack.enter_context(httpx.Client(timeout=10))
        assert kept.get(f"{server.url}/health/live").status_code == 200
        if connected:
            assert predict(kept, server).status_code == 200
        address = urlsplit(server.url)
        assert address.hostname and address.port
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection((address.hostname, address.port), 10))
        with ThreadPoolExecutor(16) as pool:
            seen = Counter(pool.map(lambda _: answer_of(server), range(100)))
        # Silent connections make room for those that ask.
        assert seen["200"] >= 90, seen
        assert set(seen) <= {"200", "503", *REFUSED}
        # Who was there before is answered: descriptors are kept back for connections to Triton.
        answer = predict(kept, server)
        assert (answer.status_code, answer.json()["predictions"]) == (200, [[2.5, 5.0, 7.5]])
        # It waits for a descriptor, and does not ask for one all the time.
        before = pids.cpu_seconds(process)
        time.sleep(2)
        assert pids.cpu_seconds(process) - before < 1
        stack.close()
        wait_for(lambda: answer_of(server) == "200")
        assert [answer_of(server) for _ in range(50)] == ["200"] * 50
        assert pids.adapter(server) == process
        assert "Traceback" not in server.output
