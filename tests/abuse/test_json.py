"""Bodies that no honest client sends, to one server: doubled keys, what is no text, and much of it (A8, A35)."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e import sample_models
from tests.support.servers import pids
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

TIMES = "class Times:\n    def predict(self, X):\n        return X * 2\n"
ECHO = "class Echo:\n    def predict(self, X):\n        return X\n"
MIB = 1024 * 1024
# Far above what others wait while a large body is read (docs/operations.md, Known limits), and far below what they
# waited when that was done on the loop, on a machine that has something else to do.
MOST_SECONDS = 2.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("json")
    models = folder / "models"
    wide = "  rush_batch_size: 500000\n"
    sample_models.python_model(models, "times", "model:Times", TIMES, "[-1, 2]", "float64", wide)
    sample_models.python_model(models, "echo", "model:Echo", ECHO, "[-1, 1]", "string")
    # Megabytes are decoded here, on a machine that does much else meanwhile.
    with serving(models, folder, PREDICT_TIMEOUT_SECONDS="60") as running:
        yield running


def post(server: Server, body: bytes, model: str = "times", endpoint: str = "predict") -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{server.url}/{endpoint}/{model}", content=body, headers=headers, timeout=90)


@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"features": [[1, 2]], "features": [[3, 4]]}',
        b'{"features": [[1, 2]], "\\u0066eatures": [[3, 4]]}',
        b'{"features": "x", "features": [[3, 4]]}',
        b'{"x": {"a": 1, "a": 1}, "features": [[3, 4]]}',
        b'{"x": "\\ud800", "features": [[3, 4]]}',
        b'{"\\udc00": 1, "features": [[3, 4]]}',
        b'{"x": "\xff", "features": [[3, 4]]}',
        b'{"x": "\xed\xa0\x80", "features": [[3, 4]]}',
        b'\xef\xbb\xbf\xef\xbb\xbf{"features": [[3, 4]]}',
        b'{"x": 1e999, "features": [[3, 4]]}',
    ],
)
def test_A8_what_is_twice_or_no_text_is_400(server: Server, body: bytes, endpoint: str) -> None:
    answer = post(server, body, endpoint=endpoint)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert len(answer.content) < 1024


def test_A8_strings_that_look_like_keys_are_answered(server: Server) -> None:
    text = '"features": [["x"]], "features": '
    answer = post(server, json.dumps({"features": [[text]]}).encode(), "echo")
    assert (answer.status_code, answer.json()["predictions"]) == (200, [[text]])


def test_A8_key_that_is_twice_at_the_end_of_a_large_body_is_400(server: Server) -> None:
    body = b'{"features": [' + b"[1,2]," * 200_000 + b'[1,2]], "features": [[1,2]]}'
    answer = post(server, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert answer.json()["detail"] == 'The body has the key "features" twice in an object.'


def test_A35_large_body_is_answered_right(server: Server) -> None:
    rows = [[float(i), i / 8] for i in range(100_000)]
    answer = post(server, json.dumps({"features": rows}).encode())
    assert answer.status_code == 200
    assert answer.json()["predictions"] == [[2 * a, 2 * b] for a, b in rows]


@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_A35_first_offender_of_a_large_body_is_named(server: Server, endpoint: str) -> None:
    answer = post(server, b'{"features": [' + b"[1,2]," * 100_000 + b"[1,null]]}", endpoint=endpoint)
    if endpoint == "predict":
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_features")
        remedy = "which `nullable: true` in its model_config.yaml would allow"
        assert answer.json()["detail"] == f"features[100000][1]: expected a number, got null, {remedy}."
    else:
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_A35_one_row_has_a_bound_that_is_told_before_it_is_read(server: Server) -> None:
    address = urlsplit(server.url)
    limit = 64 * 1024 + 2 * 32
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.putrequest("POST", "/predict_batched/times")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(limit + 1))
    connection.endheaders()
    # Not a byte of the body was sent.
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()
    row = b'{"features": [[1, 2]]}'
    assert post(server, row.ljust(limit), endpoint="predict_batched").status_code == 200
    assert post(server, row.ljust(limit + 1), endpoint="predict_batched").status_code == 413
    assert post(server, row.ljust(limit + 1)).status_code == 200


BODIES = {
    "small integers": b'{"features": [' + b",".join([b"[1,2]"] * (15 * MIB // 6)) + b"]}",
    "long digits": b'{"features": [' + b",".join([b"[1,0." + b"1" * 500 + b"]"] * (15 * MIB // 507)) + b"]}",
    "more digits than a number has": b'{"features": [[1,' + b"1" * 15 * MIB + b"]]}",
    "deep lists": b'{"features": ' + b"[" * 7 * MIB + b"]" * 7 * MIB + b"}",
    "a key of it": b'{"x": "' + b'\\":' * 5 * MIB + b'", "features": [[1,2]]}',
    "an error at its end": b'{"features": [' + b"[1,2]," * (15 * MIB // 6 - 10) + b'[1,"x"]]}',
}


@pytest.mark.parametrize("kind", BODIES)
def test_A35_others_are_answered_while_a_large_body_is_read(server: Server, kind: str) -> None:
    done = threading.Event()
    waits: list[float] = []

    def others() -> None:
        with httpx.Client(timeout=60) as client:
            while not done.is_set():
                began = time.monotonic()
                answer = client.post(f"{server.url}/predict/echo", json={"features": [["a"]]})
                waits.append(time.monotonic() - began)
                assert answer.status_code == 200

    thread = threading.Thread(target=others)
    thread.start()
    try:
        # Before it is sent, somebody is there who may have to wait.
        wait_for(lambda: waits)
        answer = post(server, BODIES[kind])
    finally:
        done.set()
        thread.join()
    assert answer.status_code in (200, 400, 422, 504), answer.text
    print(f"{kind}: {answer.status_code}; others waited {1e3 * max(waits):.0f} ms at most, "
          f"{1e3 * statistics.median(waits):.1f} ms as a rule, {len(waits)} times")  # fmt: skip
    assert max(waits) < MOST_SECONDS


def test_A35_large_bodies_that_are_refused_leave_nothing(server: Server) -> None:
    """Whether a value of theirs is wrong or they are no JSON; the first ones make room that is used again."""
    refused = [b'{"features": [' + b"[1,2]," * (8 * MIB // 6) + end for end in (b'[1,"x"]]}', b"[1,2")]

    def send() -> None:
        for body, status in zip(refused, (422, 400), strict=True):
            assert post(server, body).status_code == status

    for _ in range(3):
        send()
    adapter = pids.adapter(server)
    before = pids.resident(adapter)
    for _ in range(15):
        send()
    # Those of 30 requests are 240 MiB.
    assert pids.resident(adapter) - before < 80 * MIB
