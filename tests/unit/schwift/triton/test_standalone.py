"""`schwift triton`: what it becomes, and what it refuses."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from converter.errors import PortInUse, RepositoryError, ServeError
from converter.schema import triton_key
from converter.schema.settings import Settings
from schwift.triton import addresses, sealed_start
from schwift.triton.embedded import Ports
from schwift.triton.installation import Installation
from schwift.triton.standalone import run_triton, standalone_command, standard_ports, triton_log
from tests.support.models.repositories import build
from tests.support.models.sample_models import add_joblib


class Became(Exception):
    """What would have taken this process's place."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.command, self.environment = command, environment


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation whose tritonserver is not run."""
    for name in ("python/libtriton_python.so", "stub"):
        (tmp_path / "wheel" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "wheel" / name).write_bytes(b"")
    installation = Installation(
        tmp_path / "wheel" / "tritonserver",
        tmp_path / "wheel" / "python",
        tmp_path / "wheel" / "caches",
        None,
        {"3.11": tmp_path / "wheel" / "stub"},
    )

    def become(command: list[str], environment: Mapping[str, str], key: str) -> None:
        assert key == triton_key.read(tmp_path / ".repo.key")
        raise Became(command, environment)

    monkeypatch.setattr(sealed_start, "start", become)
    monkeypatch.setattr("schwift.triton.standalone.locate", lambda settings: installation)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return installation


def settings(folder: Path, **fields: Any) -> Settings:
    return Settings(_env_file=None, SCHWIFT_REPOSITORY=folder / "repo", **fields)


def free_ports() -> dict[str, int]:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for sock in (one, two, three):
            sock.bind(("127.0.0.1", 0))
        names = ("SCHWIFT_TRITON_HTTP_PORT", "SCHWIFT_TRITON_GRPC_PORT", "SCHWIFT_TRITON_METRICS_PORT")
        return {name: sock.getsockname()[1] for name, sock in zip(names, (one, two, three), strict=True)}


@pytest.mark.parametrize("caching", [False, True])
def test_it_becomes_a_triton_without_models(found: Installation, tmp_path: Path, caching: bool) -> None:
    add_joblib(tmp_path / "models", "a", caching=caching)
    build(tmp_path)
    ports = free_ports()
    with pytest.raises(Became) as became:
        run_triton(settings(tmp_path, **ports), "127.0.0.1")
    command = became.value.command
    assert command[0] == str(found.server)
    assert f"--model-repository={tmp_path / 'repo'}" in command
    assert "--exit-timeout-secs=15" in command
    assert "--model-control-mode=explicit" in command and not [one for one in command if "load-model" in one]
    assert [one for one in command if one.startswith("--http-")] == [
        "--http-address=127.0.0.1",
        f"--http-port={ports['SCHWIFT_TRITON_HTTP_PORT']}",
        addresses.restricted_apis()[0],
    ]
    assert ("--cache-directory=" + str(found.caches) in command) is caching
    backends = Path(next(one for one in command if one.startswith("--backend-directory=")).partition("=")[2])
    assert sorted(path.name for path in backends.iterdir()) == ["onnxruntime", "python"]
    (stub,) = (backends / "python" / "stubs").glob("*/triton_python_backend_stub")
    assert (stub.parent.name, stub.resolve()) == ("3.11", found.stubs["3.11"])
    assert became.value.environment["OMP_NUM_THREADS"] == "1"


def test_ports_are_tritons_own_unless_set(tmp_path: Path) -> None:
    assert standard_ports(settings(tmp_path)) == Ports(8000, 8001, 8002)
    assert standard_ports(settings(tmp_path, SCHWIFT_TRITON_GRPC_PORT=9001)) == Ports(8000, 9001, 8002)


def test_a_port_that_is_taken_is_named(found: Installation, tmp_path: Path) -> None:
    add_joblib(tmp_path / "models", "a")
    build(tmp_path)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        taken = free_ports() | {"SCHWIFT_TRITON_GRPC_PORT": sock.getsockname()[1]}
        with pytest.raises(PortInUse, match=rf"^port {sock.getsockname()[1]} .*SCHWIFT_TRITON_GRPC_PORT"):
            run_triton(settings(tmp_path, **taken), "127.0.0.1")


@pytest.mark.usefixtures("found")
def test_no_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError):
        run_triton(settings(tmp_path), "127.0.0.1")


def test_debug_mode_writes_tritons_log_where_the_logs_are(found: Installation, tmp_path: Path) -> None:
    debug = settings(tmp_path, debug_mode=True, log_directory=tmp_path / "logs")
    command = standalone_command(found, debug, tmp_path, "0.0.0.0", Ports(1, 2, 3), caching=False)
    assert command[-1] == f"--log-file={tmp_path / 'logs' / 'triton.log'}" and "--log-info=true" in command
    assert (tmp_path / "logs").is_dir()
    assert triton_log(debug) == tmp_path / "logs" / "triton.log"
    (tmp_path / "file").write_text("")
    wrong = settings(tmp_path, debug_mode=True, log_directory=tmp_path / "file" / "logs")
    with pytest.raises(ServeError, match=r"^LOG_DIRECTORY: .* cannot be made"):
        standalone_command(found, wrong, tmp_path, "0.0.0.0", Ports(1, 2, 3), caching=False)
