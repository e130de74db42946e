"""What a server says before it is loaded, or does not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from schwift.load.bench_server import BenchProblem, BenchServer
from tests.support.servers import certificates
from tests.support.servers.ports import free_port
from tests.unit.schwift.load.scripted_server import answer_at_once, response, scripted


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        (response(b"{}", "401 No"), r"/x answers 401: name a file with a key by --key-file"),
        (response(b"{}", "403 No"), r"/x answers 403: name a file with a key by --key-file"),
        (response(b"{}", "404 No"), r"/x answers 404$"),
        (response(b"<html>"), "is no schwift serve: name its URL"),
        (b"SSH-2.0\r\n\r\n", "no server answers at"),
    ],
)
async def test_a_server_that_says_something_else_is_said(packet: bytes, said: str) -> None:
    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(packet)
        writer.close()

    async with scripted(answer) as server:
        with pytest.raises(BenchProblem, match=said) as raised:
            await asyncio.to_thread(BenchServer(f"http://127.0.0.1:{server.port}").get, "/x")
    assert raised.value.exit_code == 2


async def test_what_it_says_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with scripted(answer_at_once) as server:
        assert await asyncio.to_thread(BenchServer(f"http://127.0.0.1:{server.port}/ml/").get, "/x") == {}


def test_nobody_there_is_said_with_a_remedy() -> None:
    with pytest.raises(BenchProblem, match="Connection refused: start `schwift serve`, or name another URL"):
        BenchServer(f"http://127.0.0.1:{free_port()}").get("/x")


async def test_a_certificate_that_is_not_trusted_is_said(tmp_path: Path) -> None:
    pair = certificates.self_signed(tmp_path, "server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pair.certificate, pair.key)
    async with scripted(answer_at_once, serving) as server:
        with pytest.raises(BenchProblem, match="is not trusted here: name its CA's file in SSL_CERT_FILE"):
            await asyncio.to_thread(BenchServer(f"https://127.0.0.1:{server.port}").get, "/x")
