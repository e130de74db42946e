"""Where Triton listens, and what of it is shut."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from converter.errors import PortInUse, ServeError
from converter.schema.settings import load_settings
from schwift.triton import addresses
from schwift.triton.embedded import choose_ports


def test_ports_are_written_as_clients_and_as_triton_do() -> None:
    where = addresses.ports("127.0.0.1", 1, 2, 3)
    assert (where.http, where.grpc, where.metrics) == ("127.0.0.1:1", "127.0.0.1:2", "http://127.0.0.1:3/metrics")
    assert {"--http-address=127.0.0.1", "--grpc-port=2", "--metrics-port=3"} <= set(where.options)
    assert where.files == ()


def test_sockets_are_in_the_folder_and_the_files_are_those_that_clients_ask() -> None:
    where = addresses.sockets(Path("/run/x"))
    assert [f"unix:{path}" for path in where.files] == [where.http, where.grpc, where.metrics]
    assert "--grpc-address=unix:/run/x/grpc.sock" in where.options and "--grpc-port=1" in where.options
    assert where.grpc == "unix:/run/x/grpc.sock:1"


def test_a_path_that_is_too_long_for_a_socket_is_an_error_with_its_remedy() -> None:
    longest = Path("/" + "x" * (107 - len("/metrics.sock") - 1))
    assert max(len(str(path)) for path in addresses.sockets(longest).files) == 107
    with pytest.raises(ServeError, match=r"107 bytes.*TMPDIR.*SCHWIFT_TRITON_PORTS"):
        addresses.sockets(longest.with_name(longest.name + "x"))


def test_both_protocols_are_shut_alike() -> None:
    http, grpc = addresses.restricted_apis()
    apis = "model-repository,shared-memory,trace,logging,statistics:schwift-key={access-key}"
    assert (http, grpc) == (f"--http-restricted-api={apis}", f"--grpc-restricted-protocol={apis}")


def test_free_ports_are_none_that_clients_connections_take() -> None:
    """The system gives those out from the first of its range on, and could do so before Triton binds one."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    for _ in range(20):
        with ExitStack() as held:
            chosen = choose_ports(load_settings(None), held)
        ports = {chosen.http, chosen.grpc, chosen.metrics}
        assert len(ports) == 3 and all(20_000 <= port < first for port in ports)


def test_nobody_else_gets_the_ports_until_they_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as held:
        chosen = choose_ports(load_settings(None), held)
        monkeypatch.setenv("SCHWIFT_TRITON_HTTP_PORT", str(chosen.http))
        with ExitStack() as others, pytest.raises(PortInUse, match=rf"port {chosen.http} .*SCHWIFT_TRITON_HTTP_PORT"):
            choose_ports(load_settings(None), others)
    with ExitStack() as held:
        assert choose_ports(load_settings(None), held).http == chosen.http
