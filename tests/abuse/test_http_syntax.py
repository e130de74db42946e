"""Requests that are HTTP to one reader and not to another: each has one meaning here, or is refused."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.attacks.raw import (
    GOOD,
    LIVE,
    ask,
    assert_predicted,
    assert_refused,
    assert_serves,
    multiply_server,
    post,
)
from tests.support.http.http_bytes import Reader, connect
from tests.support.servers.server import Server

CHUNKED = "Transfer-Encoding: chunked"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)
REFUSED = {
    "CL and TE": post(CHUNKED, body=IN_CHUNKS),
    "TE and CL": post(CHUNKED, "Content-Length: 5", body=IN_CHUNKS, length=False),
    "two CL": post(f"Content-Length: {len(GOOD)}"),
    "a list of CL": post(f"Content-Length: {len(GOOD)}, {len(GOOD)}", length=False),
    "a sign in CL": post(f"Content-Length: +{len(GOOD)}", length=False),
    "an endless CL": post("Content-Length: 99999999999999999999999", length=False),
    "bare LF": post().replace(b"\r\n", b"\n"),
    "bare LF in the head": post().replace(b"Host: x\r\n", b"Host: x\n"),
    "bare CR": post("A: b\rC: d"),
    "space before the colon": post("A : b"),
    "a line that goes on": post("A: b\r\n c"),
    "a name without a value": post("A"),
    "NUL": post("A: \0"),
    "two codings of the transfer": post("Transfer-Encoding: gzip, chunked", body=IN_CHUNKS, length=False),
    "an unknown coding of the transfer": post("Transfer-Encoding: xchunked", body=IN_CHUNKS, length=False),
    "chunks in HTTP/1.0": post(CHUNKED, body=IN_CHUNKS, length=False).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a size in hex with 0x": post(CHUNKED, body=b"0x" + IN_CHUNKS, length=False),
    "two Hosts": post("Host: x"),
    "two Hosts that differ": post("host: y"),
    "no Host": post().replace(b"Host: x\r\n", b""),
    "two Hosts in HTTP/1.0": post("Host: y").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/2.0": post().replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/0.9": post().replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/1.2": post().replace(b"HTTP/1.1", b"HTTP/1.2"),
    "RTSP/1.0": post().replace(b"HTTP/1.1", b"RTSP/1.0"),
    "RTSP/1.1 that names HTTP/1.1": post("A: HTTP/1.1").replace(b" HTTP/1.1\r\n", b" RTSP/1.1\r\n", 1),
    "ICE/1.0": post().replace(b"HTTP/1.1", b"ICE/1.0"),
    "no version": b"GET /\r\n\r\n",
    "no version, and as long as one": b"GET /abc\r\nHost: x\r\n\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "an unknown method": post().replace(b"POST", b"BLAH"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with multiply_server(tmp_path_factory.mktemp("served"), SCHWIFT_WORKERS="2") as running:
        yield running


def pieces(request: bytes, size: int) -> list[bytes]:
    return [request[at : at + size] for at in range(0, len(request), size)]


@pytest.mark.parametrize("name", REFUSED)
def test_A15_A33_what_has_two_meanings_is_400_and_the_end(server: Server, name: str) -> None:
    """Alone, in packets of seven bytes, behind a good request, and with one behind it that must not be answered."""
    request = REFUSED[name]
    for packets in ([request], [request + LIVE], pieces(request, 7)):
        answers = ask(server, *packets)
        assert len(answers) == 1
        assert_refused(answers[0], 400, "malformed_request")
    for good in (post(), LIVE, post(CHUNKED, body=IN_CHUNKS, length=False), post("Expect: 100-continue")):
        *before, last = ask(server, good + request)
        assert [answer.status for answer in before if answer.status != 100] == [200]
        assert_refused(last, 400, "malformed_request")


@pytest.mark.parametrize(
    "path",
    [
        "/predict%2Fmultiply",
        "/pr%65dict/multiply",
        "/predict/multiply%2F",
        "/predict/%2e%2e/multiply",
        "/%70redict_batched/multiply",
    ],
)
def test_A33_an_escape_is_no_separator_and_no_letter_of_an_endpoint(server: Server, path: str) -> None:
    for request in (post(path=path), post(CHUNKED, body=IN_CHUNKS, length=False, path=path)):
        with connect(server.url) as sock:
            sock.sendall(request)
            answer = Reader(sock).answer()
            assert answer is not None
            assert answer.status == 404, answer


@pytest.mark.parametrize("path", ["/h%65alth", "/health%2Flive", "/%6detrics", "/available%5fmodels", "/d%6fcs"])
def test_A33_no_endpoint_has_a_second_name(server: Server, path: str) -> None:
    with connect(server.url) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = Reader(sock).answer()
        assert answer is not None
        assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_A33_a_models_name_may_have_escapes_and_a_path_on_an_endpoint_is_405_for_get(server: Server) -> None:
    assert_predicted(ask(server, post("Connection: close", path="/predict/multi%70ly"))[0])
    answer = httpx.get(f"{server.url}/predict/multi%70ly")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("trailer", [b"Content-Type: text/plain", b"Content-Encoding: gzip", b"X-Request-Id: evil"])
def test_A33_trailers_are_dropped(server: Server, trailer: bytes) -> None:
    chunks = IN_CHUNKS[:-2] + trailer + b"\r\n\r\n"
    with connect(server.url) as sock:
        reader = Reader(sock)
        for _ in range(2):
            sock.sendall(post(CHUNKED, body=chunks, length=False))
            answer = reader.answer()
            assert_predicted(answer)
            assert answer is not None
            assert answer.headers["x-request-id"] != "evil"


@pytest.mark.parametrize(
    "codings",
    [("br",), ("gzip, gzip",), ("gzip", "gzip"), ("identity, gzip",), ("gzip", "identity"), ("identity", "gzip")],
)
def test_A33_two_codings_are_415(server: Server, codings: tuple[str, ...]) -> None:
    headers = [f"Content-Encoding: {coding}" for coding in codings]
    for request in (post(*headers), post(CHUNKED, *headers, body=IN_CHUNKS, length=False)):
        with connect(server.url) as sock:
            sock.sendall(request)
            answer = Reader(sock).answer()
            assert answer is not None
            assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


def test_A33_options_of_the_whole_server_is_404(server: Server) -> None:
    (answer,) = ask(server, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def refusals(server: Server) -> list[str]:
    return re.findall(r"request \S+ of \S+ refused: 400 malformed_request", server.output)


def left_out(server: Server) -> int:
    return sum(map(int, re.findall(r"(\d+) more requests were refused", server.output)))


def test_A32_thousands_of_requests_that_are_no_http_have_a_few_lines(server: Server) -> None:
    """Each has our body; the lines and the counts of what was left out make the number of requests."""
    time.sleep(2.5)  # what was refused before is counted by then
    said, unsaid = len(refusals(server)), left_out(server)
    started = time.monotonic()
    for _ in range(2_000):
        assert_refused(ask(server, b"\0\1\2\3" * 3)[0], 400, "malformed_request")
    seconds = time.monotonic() - started + 2
    time.sleep(2.5)
    lines = len(refusals(server)) - said
    # Two workers, each at most five a second.
    assert 0 < lines <= 10 * seconds
    assert lines + left_out(server) - unsaid == 2_000
    assert "Invalid HTTP request" not in server.output


def test_A32_pipelined_clients_that_leave_leave_no_line(server: Server) -> None:
    time.sleep(2.5)  # what was refused before is counted by then
    before = server.output
    for request in (post(), LIVE, post(CHUNKED, body=IN_CHUNKS, length=False)):
        for count in (2, 3, 200):
            for _ in range(10):
                with connect(server.url) as sock:
                    sock.sendall(request * count)
    assert_serves(server)
    time.sleep(1)
    assert server.output == before
