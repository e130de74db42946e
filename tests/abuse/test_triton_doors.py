"""A26: Triton's ports, from another user of this machine and from a web page. Models are asked, and nothing else is."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as native

from converter.schema.triton_key import GRPC_HEADER, HEADER
from schwift.triton import installation
from tests.support.attacks.as_nobody import tried
from tests.support.attacks.open_folder import open_folder
from tests.support.servers import pids
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

KEY = re.compile(rb"[0-9a-f]{64}")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with open_folder() as folder, serving(folder / "models", folder) as running:
        yield running


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What code of a stranger's would write."""
    return tmp_path_factory.mktemp("stranger") / "ran"


@pytest.fixture(scope="module")
def stranger(server: Server, ran: Path) -> dict[str, Any]:
    return tried(server.log.parent, server.triton_http, server.triton_grpc, ran)


def answers(server: Server) -> bool:
    return bool(server.post("predict", "multiply", [[1, 2, 3]]).json().get("predictions") == [[2.5, 5.0, 7.5]])


def test_A26_nobody_loads_unloads_or_reads_over_http(server: Server, stranger: dict[str, Any], ran: Path) -> None:
    """Not with a file in the request, not as a page sends it, and not with any word that it can read here."""
    assert len(stranger["http"]) == 17
    assert {name: status for name, status in stranger["http"].items() if status != 403} == {}
    assert not ran.exists() and not ran.with_name("ran.log").exists()
    assert answers(server)


def test_A26_nobody_loads_unloads_or_reads_over_grpc(server: Server, stranger: dict[str, Any]) -> None:
    assert len(stranger["grpc"]) == 10
    restricted = f"This protocol is restricted, expecting header '{GRPC_HEADER}'"
    assert {name: said for name, said in stranger["grpc"].items() if said != restricted} == {}
    assert answers(server)


def test_A26_the_key_stands_nowhere_that_nobody_can_read(server: Server, stranger: dict[str, Any]) -> None:
    assert server.triton_key not in stranger["secrets"]
    # Not as they do not see Triton: its command line is among what they read.
    assert "--disable-auto-complete-config" in "".join(stranger["secrets"])
    key = server.triton_key.encode()
    assert key not in Path(f"/proc/{pids.triton(server)}/cmdline").read_bytes()
    # A model's process, which may print its environment, has not got it.
    for pid in pids.stubs(server):
        assert key not in Path(f"/proc/{pid}/environ").read_bytes()


def test_A26_native_clients_ask_models_without_a_key(server: Server) -> None:
    rows = native.InferInput("features", [1, 3], "FP32")
    rows.set_data_from_numpy(np.array([[1, 2, 3]], np.float32))
    with native.InferenceServerClient(server.triton_grpc) as triton:
        assert triton.is_server_live() and triton.is_model_ready("multiply")
        # What `schwift doctor` names.
        assert triton.get_server_metadata().version == installation.NEWEST_TRITON[0]
        assert triton.get_model_metadata("multiply").name == "multiply"
        assert triton.get_model_config("multiply").config.max_batch_size == 128
        assert triton.infer("multiply", [rows]).as_numpy("predictions").tolist() == [[2.5, 5.0, 7.5]]
    base = f"http://{server.triton_http}/v2"
    for path in ("", "/health/live", "/models/multiply", "/models/multiply/ready", "/models/multiply/config"):
        assert httpx.get(base + path).status_code == 200, path
    body = {"inputs": [{"name": "features", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    answer = httpx.post(f"{base}/models/multiply/infer", json=body)
    assert answer.json()["outputs"][0]["data"] == [2.5, 5.0, 7.5]


def test_A26_its_own_user_has_the_key(server: Server) -> None:
    with native.InferenceServerClient(server.triton_grpc) as triton:
        index = triton.get_model_repository_index(headers={GRPC_HEADER: server.triton_key})
    assert {model.name for model in index.models} == {"multiply", "multiply_direct"}
    found = httpx.get(f"http://{server.triton_http}/v2/models/multiply/stats", headers={HEADER: server.triton_key})
    assert found.status_code == 200


def test_A26_a_triton_that_is_started_again_shows_no_key_at_any_moment(server: Server) -> None:
    """Its command line is read all the while, from before it is there until it answers."""
    key, before = server.triton_key, pids.triton(server)
    looks: dict[bytes, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for name in os.listdir("/proc"):
                if name.isdigit() and int(name) > before:
                    try:
                        text = Path("/proc", name, "cmdline").read_bytes()
                    except OSError:
                        continue
                    if b"tritonserver" in text:
                        looks[text] = looks.get(text, 0) + 1

    looker = threading.Thread(target=look)
    looker.start()
    try:
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: pids.tritons(server) not in ([], [before]), 60)
        wait_for(lambda: answers(server), 60)
    finally:
        over.set()
        looker.join()
    assert any(b"--http-restricted-api=sealed" in text for text in looks)
    assert [text for text in looks if key.encode() in text or KEY.search(text)] == []
    index = f"http://{server.triton_http}/v2/repository/index"
    assert httpx.post(index).status_code == 403
    assert httpx.post(index, headers={HEADER: key}).status_code == 200
