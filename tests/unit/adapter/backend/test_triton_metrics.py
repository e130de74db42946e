"""Triton's own metrics, from wherever it shows them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapter.backend.grpc_control import GrpcControl
from tests.support.servers.ports import free_port


def test_metrics_are_fetched_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nnv 1\n")
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            backend = GrpcControl(f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{port}/metrics")
            try:
                return await backend.metrics(5)
            finally:
                await backend.close()

    assert asyncio.run(main()) == b"nv 1\n"


def test_metrics_come_from_a_unix_socket_too(tmp_path: Path) -> None:
    """One answer, to whoever connects first."""
    path = tmp_path / "metrics.sock"

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnv_x\n")
        writer.close()

    async def main() -> tuple[bytes, bytes]:
        backend = GrpcControl("127.0.0.1:1", f"unix:{path}")
        async with await asyncio.start_unix_server(reply, path):
            there = await backend.metrics(5)
        path.unlink(missing_ok=True)
        gone = await backend.metrics(5)
        await backend.close()
        return there, gone

    assert asyncio.run(main()) == (b"nv_x\n", b"")
