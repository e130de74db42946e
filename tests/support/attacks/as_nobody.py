"""What another user of this machine can read and do: run as root, it becomes `nobody`, tries, and prints JSON.

Arguments: the folder of a server, and Triton's HTTP and gRPC addresses ("" where there are none to be known).
"""

from __future__ import annotations

import base64
import contextlib
import encodings.idna  # noqa: F401  # a look-up of an address imports it later
import http.client
import json
import os
import pwd
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Imported while everything can be read.
import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.servers.server import ROOT

_SECRET = re.compile(r"[0-9A-Za-z_-]{24,}")
_SHM = Path("/dev/shm")
_KEY, _GRPC_KEY = "schwift-key", "triton-grpc-protocol-schwift-key"
# What a page of somebody's web site may send without asking first.
_OF_A_PAGE = {"Content-Type": "text/plain", "Origin": "https://evil.example"}
_MODEL = """
from pathlib import Path
Path({path!r}).write_text("ran")
import triton_python_backend_utils
class TritonPythonModel:
    def execute(self, requests):
        return []
"""
_CONFIG = {"backend": "python", "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1]}],
           "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}]}  # fmt: skip


def tried(folder: Path, http_address: str = "", grpc_address: str = "", ran: Path | None = None) -> dict[str, Any]:
    """Run it, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, str(folder), http_address, grpc_address, str(ran or "")],
        cwd=ROOT, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["user"] == "nobody"
    return found


def become_nobody() -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        for place, _, names in os.walk(folder):
            yield from (Path(place, name) for name in names)


def readable(*folders: Path) -> list[str]:
    found = []
    for path in files(*folders):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            file.read(1)
            found.append(str(path))
    return found


def reachable(folder: Path) -> list[str]:
    """The Unix sockets that it can connect to."""
    found = []
    for path in files(folder):
        # What is no socket refuses.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            found.append(str(path))
    return found


def secrets(folder: Path) -> set[str]:
    """Every word that might be a key, of all that can be read."""
    found: set[str] = set()
    places = [Path("/proc", name, what) for name in os.listdir("/proc") if name.isdigit() for what in
              ("cmdline", "environ")]  # fmt: skip
    for path in [*places, *(Path(name) for name in readable(folder))]:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            found.update(_SECRET.findall(file.read(1 << 20).decode("latin-1")))
    return found


def requests(ran: str) -> Iterator[tuple[str, str, str, Any]]:
    """Name, method, path and body of what nobody else may ask of Triton's HTTP."""
    model = base64.b64encode(_MODEL.format(path=ran).encode()).decode()
    override = {"parameters": {"config": json.dumps(_CONFIG), "file:1/model.py": model}}
    region = {"key": "/nobody", "offset": 0, "byte_size": 64}
    yield "index", "POST", "/v2/repository/index", {}
    yield "load with a file", "POST", "/v2/repository/models/evil/load", override
    yield "load", "POST", "/v2/repository/models/multiply/load", {}
    yield "unload", "POST", "/v2/repository/models/multiply/unload", {}
    for kind in ("systemsharedmemory", "cudasharedmemory"):
        yield f"{kind} status", "GET", f"/v2/{kind}/status", None
        yield f"{kind} register", "POST", f"/v2/{kind}/region/nobody/register", region
        yield f"{kind} unregister", "POST", f"/v2/{kind}/unregister", {}
    yield "trace", "GET", "/v2/trace/setting", None
    yield "set trace", "POST", "/v2/trace/setting", {"trace_level": ["TIMESTAMPS"], "trace_rate": "1"}
    yield "trace of a model", "POST", "/v2/models/multiply/trace/setting", {"trace_rate": "1"}
    yield "log", "GET", "/v2/logging", None
    yield "set log", "POST", "/v2/logging", {"log_verbose_level": 9, "log_file": ran + ".log"}
    yield "statistics", "GET", "/v2/models/multiply/stats", None
    yield "all statistics", "GET", "/v2/models/stats", None


def ask_http(address: str, ran: str, keys: set[str]) -> dict[str, int]:
    """The status of each; that of a load with each word that might be the key, unless none is taken, too."""
    host, port = address.rsplit(":", 1)
    found: dict[str, int] = {}
    for key in ("", *sorted(keys)):
        for name, method, path, body in requests(ran):
            if key and name != "index":
                continue
            headers = _OF_A_PAGE | ({_KEY: key} if key else {})
            with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=30)) as connection:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                status = connection.getresponse().status
            if not key or status != 403:
                found[f"{name} {key}".strip()] = status
    return found


def ask_grpc(address: str) -> dict[str, str]:
    """The same with gRPC: what it says of each."""
    pb = service_pb2
    messages = {
        "RepositoryIndex": pb.RepositoryIndexRequest(),
        "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="multiply"),
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="multiply"),
        "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest(),
        "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="n", key="/nobody", byte_size=64),
        "SystemSharedMemoryUnregister": pb.SystemSharedMemoryUnregisterRequest(),
        "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest(),
        "TraceSetting": pb.TraceSettingRequest(),
        "LogSettings": pb.LogSettingsRequest(),
        "ModelStatistics": pb.ModelStatisticsRequest(),
    }
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        found = {}
        for name, message in messages.items():
            try:
                getattr(stub, name)(message, timeout=30, metadata=((_GRPC_KEY, "guessed"),))
                found[name] = "answered"
            except grpc.RpcError as error:
                found[name] = error.details() or str(error.code())
    return found


def main(folder: str, http_address: str, grpc_address: str, ran: str) -> None:
    become_nobody()
    mark = tuple(path.name for path in _SHM.iterdir())
    words = secrets(Path(folder))
    found = {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "readable": readable(Path(folder)),
        "shared_memory": [name for name in mark if os.access(_SHM / name, os.R_OK) or os.access(_SHM / name, os.W_OK)],
        "sockets": reachable(Path(folder)),
        "secrets": sorted(words),
        "http": ask_http(http_address, ran, {word for word in words if len(word) in (32, 64)}) if http_address else {},
        "grpc": ask_grpc(grpc_address) if grpc_address else {},
    }
    # Time for what was loaded to run.
    time.sleep(0.5)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
