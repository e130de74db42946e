"""HTTP as clients speak it, from a real server: codings, HEAD, byte order marks and other origins."""

from __future__ import annotations

import gzip
import json
import subprocess
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.attacks.raw import multiply_server
from tests.support.servers.server import Server

ORIGIN = "https://page.example"
BODY = json.dumps({"features": [[1, 2, 3]]}).encode()
WANTED = {"model": "multiply", "predictions": [[2.5, 5.0, 7.5]]}
ROWS = 20_000


@pytest.fixture(scope="module")
def browsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with multiply_server(tmp_path_factory.mktemp("browsed"), SCHWIFT_CORS_ORIGINS=ORIGIN) as running:
        yield running


def posted(server: Server, content: bytes, path: str = "/predict/multiply", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **named}
    return httpx.post(f"{server.url}{path}", content=content, headers=sent, timeout=30)


@pytest.mark.parametrize("path", ["/predict/multiply", "/predict_batched/multiply"])
def test_compressed_bodies_and_byte_order_marks_are_read(browsed: Server, path: str) -> None:
    answers = [
        posted(browsed, gzip.compress(BODY), path, Content_Encoding="gzip"),
        posted(browsed, zlib.compress(BODY), path, Content_Encoding="deflate"),
        posted(browsed, b"\xef\xbb\xbf" + BODY, path),
        posted(browsed, gzip.compress(b"\xef\xbb\xbf" + BODY), path, Content_Encoding="gzip"),
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, WANTED)] * 4


@pytest.mark.parametrize(
    ("path", "key"), [("/predict/multiply", "features"), ("/v1/models/multiply:predict", "instances")]
)
def test_large_bodies_and_answers_are_compressed_both_ways(browsed: Server, path: str, key: str) -> None:
    rows = [[i, i + 0.5, 1] for i in range(ROWS)]
    body = gzip.compress(json.dumps({key: rows}).encode())
    plain = posted(browsed, body, path, Content_Encoding="gzip")
    packed = posted(browsed, body, path, Content_Encoding="gzip", Accept_Encoding="gzip")
    assert plain.status_code == packed.status_code == 200
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.json() == plain.json()
    assert packed.json()["predictions"] == [[2.5 * value for value in row] for row in rows]


def test_A1_a_bomb_is_413_and_other_codings_are_415(browsed: Server) -> None:
    """256 MiB in 256 KiB: sixteen times the limit."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(256)), packer.flush()])
    statuses = [posted(browsed, bomb, Content_Encoding="gzip").status_code for _ in range(8)]
    assert statuses == [413] * 8
    assert posted(browsed, BODY, Content_Encoding="br").status_code == 415
    assert posted(browsed, gzip.compress(BODY), Content_Encoding="gzip, gzip").status_code == 415
    assert posted(browsed, BODY).json() == WANTED


def test_curl_asks_for_compressed_metrics_and_for_heads(browsed: Server) -> None:
    def curl(*arguments: str) -> str:
        done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    url = f"{browsed.url}/metrics"
    head, _, body = curl("--compressed", "-D", "-", url).partition("\n\n")
    assert "content-encoding: gzip\n" in f"{head}\n" and "nv_inference_count" in body
    assert "content-encoding" not in curl("-D", "-", "-o", "/dev/null", url)
    for path in ("/health/ready", "/health", "/available_models", "/metrics", "/ping"):
        got = curl("-I", f"{browsed.url}{path}")
        assert got.startswith("HTTP/1.1 200 ") and got.endswith("\n\n"), got


def test_heads_have_no_body_on_a_connection_that_goes_on(browsed: Server) -> None:
    with httpx.Client(base_url=browsed.url) as client:
        for _ in range(3):
            head = client.head("/available_models")
            assert (head.status_code, head.content) == (200, b"") and int(head.headers["content-length"]) > 0
            assert client.post("/predict/multiply", json={"features": [[1, 2, 3]]}).json() == WANTED


def test_pages_of_the_origin_named_may_ask(browsed: Server) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    url = f"{browsed.url}/predict/multiply"

    def allowed(response: httpx.Response) -> Any:
        return response.headers.get("access-control-allow-origin")

    preflight = httpx.options(url, headers={"Origin": ORIGIN, **asks})
    assert (preflight.status_code, allowed(preflight)) == (204, ORIGIN)
    # In one packet, so by the short cut of small predictions.
    answer = posted(browsed, BODY, Origin=ORIGIN)
    assert (answer.json(), allowed(answer)) == (WANTED, ORIGIN)
    other = httpx.options(url, headers={"Origin": "https://other.example", **asks})
    assert (other.status_code, allowed(other)) == (405, None)
    assert allowed(posted(browsed, BODY, Origin="https://other.example")) is None
