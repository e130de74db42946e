"""Clients that offer another protocol: the offer is ignored, and the request answered (RFC 9110, 7.8)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.abuse.upgrading_proxy import passing_upgrades
from tests.support.attacks.raw import (
    GOOD,
    LIVE,
    PREDICTIONS,
    ask,
    assert_predicted,
    assert_refused,
    multiply_server,
    post,
)
from tests.support.http.http_bytes import Reader, connect
from tests.support.servers.server import Server

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
OFFERS = {
    "h2c": H2C,
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: eA==", "Sec-WebSocket-Version: 13"),
    "anything": ("Connection: keep-alive, upgrade", "Upgrade: what/2, ever"),
    "by another header": ("Proxy-Connection: upgrade", "Upgrade: q"),
}
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
JAVA = Path(__file__).with_name("OfferUpgrade.java")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with multiply_server(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.mark.parametrize("name", OFFERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_A30_the_body_is_read_wherever_it_is_cut(server: Server, name: str, chunked: bool) -> None:
    """In one packet, in two with the cut anywhere near the head's end, byte by byte; a good request follows each."""
    headers = OFFERS[name]
    request = post("Transfer-Encoding: chunked", *headers, body=IN_CHUNKS, length=False) if chunked else post(*headers)
    head = request.index(b"\r\n\r\n") + 4
    cuts = [*range(head - 4, head + 3), head + 10, len(request) - 1]
    with connect(server.url) as sock:
        reader = Reader(sock)
        for packets in [[request], *([request[:cut], request[cut:]] for cut in cuts), [bytes([b]) for b in request]]:
            for packet in packets:
                sock.sendall(packet)
                if len(packets) == 2:
                    time.sleep(0.02)
            assert_predicted(reader.answer())
            sock.sendall(post())
            assert_predicted(reader.answer())


def test_A30_offers_are_ignored_in_a_pipeline_and_without_a_body(server: Server) -> None:
    with connect(server.url) as sock:
        reader = Reader(sock)
        offering = post(*H2C)
        sock.sendall(offering * 3 + LIVE.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost") + post())
        for _ in range(3):
            assert_predicted(reader.answer())
        live = reader.answer()
        assert live is not None and live.status == 200
        assert_predicted(reader.answer())


def test_A30_a_body_is_never_taken_for_a_request(server: Server) -> None:
    """The second request of the stream is inside the first one's body: one answer, an error about the JSON."""
    with connect(server.url) as sock:
        request = post(*H2C, "Connection: close", body=LIVE)
        head = request.index(b"\r\n\r\n") + 4
        sock.sendall(request[:head])
        time.sleep(0.1)
        sock.sendall(request[head:])
        answers = Reader(sock).answers()
    assert [(answer.status, answer.json["code"]) for answer in answers] == [(400, "malformed_json")]


def test_A30_a_broken_body_behind_an_offer_is_refused_as_any(server: Server) -> None:
    answers = ask(server, post("Transfer-Encoding: chunked", *H2C, body=b"zz\r\n\r\n", length=False))
    assert len(answers) == 1
    assert_refused(answers[0], 400, "malformed_request")


def test_A30_the_jdks_default_client_is_answered(server: Server) -> None:
    assert_javas_client_is_answered(server.url)


def assert_javas_client_is_answered(url: str) -> None:
    java = shutil.which("java")
    assert java, "needs a JDK: apt-get install default-jdk-headless"
    command = [java, "-XX:TieredStopAtLevel=1", str(JAVA), f"{url}/predict/multiply", GOOD.decode(), "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    wanted = '200 HTTP_1_1 {"model":"multiply","predictions":' + str(PREDICTIONS).replace(" ", "") + "}"
    assert done.stdout.splitlines() == [wanted] * 5


@pytest.fixture(scope="module", params=["on", "off"], ids=["buffered", "unbuffered"])
def proxied(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with passing_upgrades(server.url, tmp_path_factory.mktemp("proxy") / "nginx", request.param) as url:
        yield url


@pytest.mark.parametrize("name", ["h2c", "websocket"])
def test_A30_an_offer_that_nginx_passes_on_is_ignored(proxied: str, name: str) -> None:
    """nginx sends `Connection: upgrade`, and would become a tunnel at a 101; the connection takes another request."""
    request = post(*OFFERS[name])
    head = request.index(b"\r\n\r\n") + 4
    for packets in ([request], [request[:head], request[head:]], [request[: head + 5], request[head + 5 :]]):
        with connect(proxied) as sock:
            reader = Reader(sock)
            for _ in range(2):
                for packet in packets:
                    sock.sendall(packet)
                    time.sleep(0.05)
                assert_predicted(reader.answer())
            sock.sendall(LIVE.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost"))
            live = reader.answer()
            assert live is not None and live.status == 200


def test_A30_the_jdks_default_client_is_answered_behind_nginx(proxied: str) -> None:
    assert_javas_client_is_answered(proxied)


def test_A30_curls_offer_of_http2_is_ignored(server: Server) -> None:
    command = ["curl", "-sS", "--http2", "-d", GOOD.decode(), "-H", "Content-Type: application/json"]
    done = subprocess.run([*command, f"{server.url}/predict/multiply"], capture_output=True, text=True, timeout=60)
    assert done.stdout == '{"model":"multiply","predictions":[[2.5,5.0,7.5]]}', done.stderr
    assert "Upgrade" not in server.output and "upgrade" not in server.output
