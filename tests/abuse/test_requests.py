"""Requests that nobody should send, to one server that survives them all: what is answered, and what must not happen.

Each test checks, too, that nothing reached Triton: its own counters stand still.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.e2e.sample_models import python_model
from tests.support.attacks.exchange import exchange, request
from tests.support.http.http_bytes import Answer, connect, parse, receive
from tests.support.servers import pids
from tests.support.servers.asking import get, live, metric, ready
from tests.support.servers.server import ROOT, Server
from tests.support.servers.serving import serving

T = TypeVar("T")
ENDPOINTS = ("predict", "predict_batched")
LIMIT = 1 << 20
# In a body, to be found nowhere in its answer.
SECRET = "top-secret-row"
GOOD = b'{"features": [[1.0, 2.0, 3.0]]}'
GOOD_ANSWER = {"model": "multiply", "predictions": [[2.5, 5.0, 7.5]]}
# As often the reconciler may ask a row of its own just then; it does so every ten seconds.
_TRIES = 5
_DOUBLE = """
class Double:
    def predict(self, X):
        return X * 2
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("abuse")
    models = folder / "models"
    shutil.copytree(ROOT / "models" / "multiply", models / "multiply", ignore=shutil.ignore_patterns("__pycache__"))
    python_model(models, "whole", "model:Double", _DOUBLE, "[-1, 2]", "int64")
    with serving(models, folder, SCHWIFT_MAX_BODY_BYTES=str(LIMIT)) as running:
        yield running
        # Whatever was sent: it lives, and answers what is right.
        assert live(running) and ready(running)
        assert running.post("predict", "multiply", [[1.0, 2.0, 3.0]]).json() == GOOD_ANSWER
        assert "Traceback" not in running.output, running.output


def calls(server: Server) -> float:
    """Everything that Triton counts of inference requests, of all its models."""
    # Not httpx, whose clients each take longer to make than a request does.
    host, _, port = server.triton_metrics.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    names = ("nv_inference_count", "nv_inference_request_success", "nv_inference_request_failure")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(names))


def without_a_call(server: Server, what: Callable[[], T]) -> T:
    """Do it, and see that Triton has had no request meanwhile."""
    for _ in range(_TRIES):
        before = calls(server)
        result = what()
        if calls(server) == before:
            return result
    raise AssertionError("Triton was called")


def refused(server: Server, body: bytes, model: str = "multiply", endpoint: str = "predict") -> Answer:
    """The one answer to a body, small and without an echo; nothing reached Triton."""
    (reply,) = without_a_call(server, lambda: exchange(server, request(f"/{endpoint}/{model}", body)))
    assert reply.status >= 400
    assert len(reply.body) <= 1024
    assert SECRET.encode() not in reply.body
    return reply


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 40, (1 << 63) - 1])
def test_A1_declared_body_over_the_limit_is_refused_before_it_comes(server: Server, endpoint: str, size: int) -> None:
    """Not a byte of it was sent when the answer came."""

    def declare() -> Answer:
        with connect(server.url) as sock:
            sock.sendall(request(f"/{endpoint}/multiply", Content_Length=str(size), Connection="keep-alive"))
            content = b""
            while b"}" not in content:
                part = sock.recv(4096)
                assert part, content
                content += part
        (reply,) = parse(content)
        return reply

    reply = without_a_call(server, declare)
    assert (reply.status, reply.code) == (413, "body_too_large")


@pytest.mark.parametrize("length", [10**30, 10**400])
def test_A1_length_that_no_parser_has_a_number_for_is_refused(server: Server, length: int) -> None:
    sent = request("/predict/multiply", GOOD, Content_Length=str(length))
    (reply,) = without_a_call(server, lambda: exchange(server, sent))
    assert reply.status in (400, 413)


def test_A1_chunked_body_over_the_limit_is_refused_and_not_kept(server: Server) -> None:
    """64 MiB in chunks of valid JSON; the server's memory stays as it was."""
    adapter = pids.adapter(server)
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = request("/predict/multiply", Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")

    def stream() -> list[Answer]:
        with connect(server.url) as sock:
            sock.sendall(head)
            try:
                for _ in range(1024):
                    sock.sendall(chunk)
                sock.sendall(b"0\r\n\r\n")
            except OSError:
                pass  # closed before the end: its answer is here
            return parse(receive(sock))

    before = pids.resident(adapter)
    found = without_a_call(server, stream)
    assert pids.resident(adapter) - before < 16 * 2**20
    assert [(reply.status, reply.code) for reply in found] == [(413, "body_too_large")]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "make",
    [
        lambda depth: b"[" * depth,
        lambda depth: b'{"features": ' + b"[" * depth + b"]" * depth + b"}",
        lambda depth: b'{"features": [[1, 2, 3]], "a": ' + b'{"a":' * depth + b"1" + b"}" * (depth + 1),
    ],
    ids=["unclosed", "lists", "objects"],
)
def test_A2_json_that_is_nested_deeply_is_400(server: Server, endpoint: str, make: Callable[[int], bytes]) -> None:
    # A body of one row has at most 64 KiB.
    body = make(100_000 if endpoint == "predict" else 10_000)
    reply = refused(server, body, endpoint=endpoint)
    assert (reply.status, reply.code) == (400, "malformed_json")


@pytest.mark.parametrize("model", ["multiply", "whole"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nan", "inf", "1e", ".5", "+1"])
def test_A3_what_json_has_no_number_for_is_400(server: Server, model: str, number: str) -> None:
    reply = refused(server, f'{{"features": [[1, {number}, 3]]}}'.encode(), model)
    assert (reply.status, reply.code) == (400, "malformed_json")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("features", [[[1, 2, 3], [4, 5]], [[1, 2]], [[1, 2, 3, 4]], [1, 2], [1, 2, 3, 4, 5, 6],
                                      [[[1, 2, 3]]], [[1, 2, 3], []], [[1, [2], 3]], [[1, 2, 3], 4]])  # fmt: skip
def test_A4_rows_of_another_shape_are_422(server: Server, endpoint: str, features: object) -> None:
    """Six numbers in one row are not two rows of three."""
    reply = refused(server, json.dumps({"features": features}).encode(), endpoint=endpoint)
    assert (reply.status, reply.code) == (422, "bad_features")


def test_A4_several_rows_are_422_on_predict_batched_alone(server: Server) -> None:
    body = json.dumps({"features": [[1, 2, 3], [4, 5, 6]]}).encode()
    reply = refused(server, body, endpoint="predict_batched")
    assert (reply.status, reply.code) == (422, "already_batched")
    (answer,) = exchange(server, request("/predict/multiply", body))
    assert answer.json["predictions"] == [[2.5, 5.0, 7.5], [10.0, 12.5, 15.0]]


@pytest.mark.parametrize("model", ["multiply", "whole"])
@pytest.mark.parametrize("value", ["1.5", "1", "", True, False, None, {}, {"a": 1}, SECRET])
def test_A5_what_is_no_number_is_422_and_not_made_one(server: Server, model: str, value: object) -> None:
    row = [1, value, 3] if model == "multiply" else [1, value]
    reply = refused(server, json.dumps({"features": [row]}).encode(), model)
    assert (reply.status, reply.code) == (422, "bad_features")
    assert reply.json["detail"].startswith("features[0][1]: expected ")


@pytest.mark.parametrize("value", [1.5, -0.1, 1e300, 2**63, -(2**63) - 1])
def test_A5_numbers_that_are_no_int64_are_not_rounded(server: Server, value: float) -> None:
    reply = refused(server, json.dumps({"features": [[1, value]]}).encode(), "whole")
    assert reply.status in (400, 422)
    assert reply.code in ("bad_features", "malformed_json")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b" ", 400), (b"null", 422), (b"[]", 422), (b"{}", 422), (b"1", 422), (b'""', 422),
        (b'{"features": null}', 422), (b'{"features": {}}', 422), (b'{"features": []}', 422),
        (b'{"features": [[]]}', 422), (b'{"features": [[[]]]}', 422), (b'{"Features": [[1, 2, 3]]}', 422),
        (b'{"features": [[1, 2, 3]]', 400), (b'{"features": [[1, 2, 3]]}}', 400), (b'{features: [[1, 2, 3]]}', 400),
    ],
)  # fmt: skip
def test_A6_nothing_is_400_or_422(server: Server, endpoint: str, body: bytes, status: int) -> None:
    reply = refused(server, body, endpoint=endpoint)
    assert (reply.status, reply.code) == (status, "malformed_json" if status == 400 else "bad_features")


@pytest.mark.parametrize("model", ["multiply", "whole"])
@pytest.mark.parametrize("digits", [5_000, 500_000])
def test_A7_an_integer_of_many_digits_is_400(server: Server, model: str, digits: int) -> None:
    row = "1, " + "9" * digits + (", 3" if model == "multiply" else "")
    reply = refused(server, f'{{"features": [[{row}]]}}'.encode(), model)
    assert (reply.status, reply.code) == (400, "malformed_json")


@pytest.mark.parametrize("number", ["1e39", "-3.5e38", "1e308"])
def test_A7_a_number_beyond_float32_is_422_and_never_infinity(server: Server, number: str) -> None:
    reply = refused(server, f'{{"features": [[1, 2, 3], [1, {number}, 3]]}}'.encode())
    assert (reply.status, reply.code) == (422, "bad_features")
    assert reply.json["detail"].startswith("features[1][1]: ")


@pytest.mark.parametrize("item", ['"x"', "null", "[]", "true", '{"a":1}', f'"{SECRET}"'])
def test_A9_200000_bad_items_are_one_short_answer(server: Server, item: str) -> None:
    """The first offender is named, and no other."""
    count = min(200_000, (LIMIT - 100) // (len(item) + 1))
    reply = refused(server, ('{"features": [[1, 2, 3], [' + ",".join([item] * count) + "]]}").encode())
    assert (reply.status, reply.code) == (422, "bad_features")
    assert "features[1]" in reply.json["detail"] and "features[2]" not in reply.json["detail"]


BAD_NAMES = [
    "../multiply", "..%2fmultiply", "%2e%2e%2fmultiply", "..%5cmultiply", "multiply%00", "%00", "multiply/",
    "multiply/x", "multiply%20", "%20multiply", "Multiply", "multiply_direct", "multiply..", "./multiply",
    "%F0%9F%A6%86", "%ff%fe",
    "multiply%0d%0aX-Evil:1", "m" * 9_000, "%6d" * 3_000, "v2%2fhealth%2flive", "..%2f..%2f..%2fetc%2fpasswd",
]  # fmt: skip


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Triton takes no request."""
    triton = pids.triton(server)
    os.kill(triton, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(triton, signal.SIGCONT)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_A10_names_that_are_no_models_are_404(server: Server, endpoint: str) -> None:
    """Answered, too, while Triton answers nobody."""

    def ask() -> list[Answer]:
        return [reply for name in BAD_NAMES for reply in exchange(server, request(f"/{endpoint}/{name}", GOOD))]

    def check(found: list[Answer]) -> None:
        assert {(reply.status, reply.code) for reply in found} <= {(404, "unknown_model"), (404, "not_found")}
        assert len(found) == len(BAD_NAMES)
        assert all(len(reply.body) <= 1024 for reply in found)
        assert all(b"multiply" not in reply.body and b"evil" not in reply.body.lower() for reply in found)

    check(without_a_call(server, ask))
    with stopped(server):
        found = ask()
    check(found)


def test_A10_unknown_names_are_counted_under_no_label(server: Server) -> None:
    exchange(server, request("/predict/no_such_model_here", GOOD))
    assert metric(server, "inference_requests_total", model_name="no_such_model_here") == 0
    assert "no_such_model_here" not in get(server, "/metrics")[1]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/predict/multiply", "/predict_batched/multiply"])
def test_A11_another_method_is_405_and_names_the_right_one(server: Server, method: str, path: str) -> None:
    (reply,) = without_a_call(server, lambda: exchange(server, request(path, GOOD, method), head=method == "HEAD"))
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert method == "HEAD" or reply.code == "method_not_allowed"


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/live", "/available_models", "/metrics"])
def test_A11_what_is_only_read_takes_no_post(server: Server, path: str) -> None:
    (reply,) = without_a_call(server, lambda: exchange(server, request(path, GOOD)))
    assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "",
                                   "application/jsonx", "text/json", "application/xml"])  # fmt: skip
def test_A11_what_is_not_declared_as_json_is_415(server: Server, endpoint: str, media: str) -> None:
    sent = request(f"/{endpoint}/multiply", GOOD, Content_Type=media)
    (reply,) = without_a_call(server, lambda: exchange(server, sent))
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "x"])
def test_A11_a_body_that_is_not_in_the_coding_that_it_names_is_refused(server: Server, encoding: str) -> None:
    sent = request("/predict/multiply", GOOD, Content_Encoding=encoding)
    (reply,) = without_a_call(server, lambda: exchange(server, sent))
    assert reply.status in (400, 415)
    assert reply.code in ("unsupported_media_type", "malformed_json")


HOST = b"Host: schwift.test\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(GOOD)
SMUGGLED = request("/predict/whole", b'{"features": [[1, 2]]}')
POST = b"POST /predict/multiply HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLING = {
    "length and chunks": POST + HOST + LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": POST + HOST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + HOST + LENGTH + b"Content-Length: 0\r\n\r\n" + GOOD + SMUGGLED,
    "two equal lengths": POST + HOST + LENGTH + LENGTH + b"\r\n" + GOOD + SMUGGLED,
    "a list of lengths": POST + HOST + b"Content-Length: 0, 0\r\n\r\n" + SMUGGLED,
    "a signed length": POST + HOST + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a negative length": POST + HOST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length in hex": POST + HOST + b"Content-Length: 0x1f\r\n\r\n" + GOOD + SMUGGLED,
    "a space before the colon": POST + HOST + b"Content-Length : 31\r\n\r\n" + GOOD + SMUGGLED,
    "bare LF after the first line": b"POST /predict/multiply HTTP/1.1\n" + HOST + LENGTH + b"\r\n" + GOOD + SMUGGLED,
    "bare LF in the head": POST + HOST + b"X-A: 1\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "bare LF at the head's end": POST + HOST + LENGTH + b"\n" + GOOD + SMUGGLED,
    "bare CR in a header": POST + HOST + b"X-A: 1\rContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a folded header": POST + HOST + b"X-A: 1\r\n Content-Length: 0\r\n" + LENGTH + b"\r\n" + GOOD + SMUGGLED,
    "NUL in a header": POST + HOST + b"X-A: a\0b\r\n" + LENGTH + b"\r\n" + GOOD + SMUGGLED,
    "chunks that are not last": POST + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks by another name": POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk's size with a sign": POST + HOST + CHUNKED + b"\r\n+1f\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk that is longer than its size": POST + HOST + CHUNKED + b"\r\n1\r\n" + GOOD + b"\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk with bare LF": POST + HOST + CHUNKED + b"\r\n1f\n" + GOOD + b"\n0\n\n" + SMUGGLED,
}


@pytest.mark.parametrize("what", SMUGGLING)
def test_A15_a_message_whose_end_is_in_doubt_is_400_and_the_last(server: Server, what: str) -> None:
    """Behind it stands a good request for another model, which must not be read as one."""
    before = metric(server, "inference_requests_total", model_name="whole")
    found = exchange(server, SMUGGLING[what])
    assert [reply.status for reply in found] == [400]
    assert metric(server, "inference_requests_total", model_name="whole") == before
