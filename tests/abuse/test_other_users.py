"""A31: what another user of this machine can read of a server, and reach. This one has no port of Triton's at all."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from converter.schema.triton_key import HEADER
from tests.support.attacks.as_nobody import readable, tried
from tests.support.attacks.open_folder import open_folder
from tests.support.servers import pids
from tests.support.servers.server import Server, environment, shared_memory
from tests.support.servers.serving import serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with open_folder() as folder, serving(folder / "models", folder, SCHWIFT_TRITON_PORTS="off") as running:
        assert running.post("predict_batched", "multiply", [[1, 2, 3]]).json()["predictions"] == [[2.5, 5.0, 7.5]]
        yield running


@pytest.fixture(scope="module")
def stranger(server: Server) -> dict[str, Any]:
    return tried(server.log.parent)


def test_A31_nobody_reads_what_a_server_writes(server: Server, stranger: dict[str, Any]) -> None:
    """Not the repository with the key of its wake-ups, not the models' copies, the key of Triton or its log."""
    folder = server.log.parent
    theirs = {path for path in stranger["readable"] if not path.startswith(str(folder / "models"))}
    # What the tests wrote themselves.
    assert theirs == {str(server.log), str(folder / "marks")}
    written = {Path(path).name for path in readable(folder / ".model_repository.builds", folder / "tmp")}
    assert {"wake_key", "schwift.json", "config.pbtxt", "triton.key", "triton.log"} <= written


def test_A31_nobody_reads_the_rows_of_clients_in_shared_memory(server: Server, stranger: dict[str, Any]) -> None:
    regions = shared_memory(server.log.parent)
    assert len(regions) == len(pids.stubs(server))
    assert set(regions) & set(stranger["shared_memory"]) == set()
    assert {stat.S_IMODE(Path("/dev/shm", name).stat().st_mode) for name in regions} == {0o600}


def test_A31_sockets_are_for_this_user(server: Server, stranger: dict[str, Any]) -> None:
    assert stranger["sockets"] == []
    control = server.repository.with_name(f".{server.repository.name}.sock")
    sockets = [Path(address.removeprefix("unix:")) for address in
               (server.triton_http, server.triton_grpc, server.triton_metrics)]  # fmt: skip
    assert all(path.is_socket() and stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (control, *sockets))
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in sockets} == {0o700}


def test_A26_without_ports_triton_listens_on_none(server: Server) -> None:
    listening = set(listening_inodes())
    for pid in [pids.triton(server), *pids.stubs(server)]:
        held = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
        assert {name for name in held if name.removeprefix("socket:[").removesuffix("]") in listening} == set()
    # Its metrics come along all the same, and its doors are shut on sockets too.
    assert 'nv_inference_count{model="multiply_direct"' in httpx.get(f"{server.url}/metrics").text
    transport = httpx.HTTPTransport(uds=server.triton_http.removeprefix("unix:"))
    with httpx.Client(transport=transport, base_url="http://localhost/v2") as client:
        assert client.get("/health/live").status_code == 200
        assert client.post("/repository/index").status_code == 403
        assert client.post("/repository/index", headers={HEADER: server.triton_key}).status_code == 200


def listening_inodes() -> Iterator[str]:
    """The inodes of TCP sockets."""
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                yield fields[9]


def test_B4_models_gain_no_rights_and_leave_no_core_dumps(server: Server) -> None:
    """Whatever a model's code starts, and however it dies with clients' rows in its memory."""
    stubs = pids.stubs(server)
    assert stubs
    for pid in [pids.triton(server), *stubs]:
        assert "NoNewPrivs:\t1\n" in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]


def test_A31_a_repository_that_is_built_by_hand_is_its_users_alone() -> None:
    """With the key of Triton's control, where one is asked for."""
    with open_folder() as folder:
        (folder / "models" / "multiply" / "notes.txt").write_text("rows of a client's")
        settings = environment(folder, {"SCHWIFT_TRITON_KEY_FILE": str(folder / "keys" / "triton.key")})
        command = [sys.executable, "-m", "schwift", "build-repo"]
        subprocess.run(command, cwd=folder, env=settings, check=True, stdout=subprocess.DEVNULL, timeout=60)
        theirs = {Path(path).relative_to(folder).parts[0] for path in tried(folder)["readable"]}
        assert theirs == {"models"}
        written = {path.name: path for path in (folder / "model_repository").rglob("*")}
        assert {"wake_key", "notes.txt", "config.pbtxt", "schwift.json"} <= set(written)
        for path in (written["wake_key"], written["notes.txt"], folder / "keys" / "triton.key"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
