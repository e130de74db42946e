"""POST /predict and /predict_batched: every status that they can answer with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from converter.schema.manifest import Tensor
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http.web_app import assert_error, make_app, post, running, visit

ROW = [[1, 2, 3, 4]]
ENDPOINTS = pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])


async def sums(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    total = arrays["x"].sum(axis=1, keepdims=True)
    return {"y": np.concatenate([total, -total], axis=1).astype(np.float32)}


def fails_with(error: Exception) -> FakeBackend:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise error

    return FakeBackend(handler)


def answers_with(array: Any) -> FakeBackend:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": np.asarray(array)}

    return FakeBackend(handler)


async def hang(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    await asyncio.Event().wait()
    raise AssertionError


@ENDPOINTS
def test_a_prediction_has_the_models_name_and_a_row_of_its_output(endpoint: str) -> None:
    response = post(f"/{endpoint}/m", ROW, FakeBackend(sums))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"model": "m", "predictions": [[10.0, -10.0]]}


@ENDPOINTS
@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("labels=true", {"a": 10.0, "b": -10.0}),
        ("other=1&labels=true&x", {"a": 10.0, "b": -10.0}),
        ("labels=false", [10.0, -10.0]),
        ("other=1", [10.0, -10.0]),
    ],
)
def test_rows_are_objects_by_class_if_asked_for(endpoint: str, query: str, row: Any) -> None:
    entry = make_entry(classes=["a", "b"])
    response = post(f"/{endpoint}/m?{query}", ROW, FakeBackend(sums), entry)
    assert response.json() == {"model": "m", "predictions": [row]}


@ENDPOINTS
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("labels=true", "labels=true needs the key `classes` in the model's model_config.yaml."),
        ("labels=1", "labels must be true or false."),
        ("labels", "labels must be true or false."),
        ("labels=true&labels=false", "labels must be true or false."),
    ],
)
def test_labels_that_cannot_be_given_are_400(endpoint: str, query: str, said: str) -> None:
    response = post(f"/{endpoint}/m?{query}", ROW, FakeBackend(sums))
    assert_error(response, 400, "bad_query")
    assert response.json()["detail"] == said


def test_the_readme_example_of_two_rows() -> None:
    response = post("/predict/m", [[5.1, 3.5, 1.4, 0.2], [7.2, 3.2, 6.0, 1.8]], FakeBackend(sums))
    first, second = response.json()["predictions"]
    assert first == pytest.approx([10.2, -10.2])
    assert second == pytest.approx([18.2, -18.2])


@ENDPOINTS
@pytest.mark.parametrize("body", [b"", b"{", b'{"features": [[NaN, 1, 2, 3]]}', b'{"features": [[1e999, 1, 2, 3]]}',
                                  b"\xff\xfe", b"[" * 60_000])  # fmt: skip
def test_400_what_is_not_the_json_asked_for(endpoint: str, body: bytes) -> None:
    backend = FakeBackend()
    assert_error(post(f"/{endpoint}/m", None, backend, content=body), 400, "malformed_json")
    assert backend.calls == []


@ENDPOINTS
@pytest.mark.parametrize(
    "name", ["other", "m_direct", "M", "..%2f..%2fetc", "%00", "m%00", "%C3%A9", "n" * 9000, "%ff"]
)
def test_404_a_model_that_is_not_there(endpoint: str, name: str) -> None:
    backend = FakeBackend()
    response = post(f"/{endpoint}/{name}", ROW, backend)
    assert response.status_code == 404
    assert_error(response, 404, response.json()["code"])
    assert response.json()["code"] in ("unknown_model", "not_found")
    assert backend.calls == []


@pytest.mark.parametrize("path", ["/predict", "/predict/", "/predict/m/", "/predict//m", "/x", "/v3"])
def test_404_an_address_that_is_not_there(path: str) -> None:
    assert_error(post(path, ROW), 404, "not_found")


def test_404_an_endpoint_that_the_model_leaves_out() -> None:
    only = make_entry("m", endpoints=["predict"])
    backend = FakeBackend()
    assert_error(post("/predict_batched/m", ROW, backend, only), 404, "endpoint_off")
    assert backend.calls == []
    assert post("/predict/m", ROW, backend, only).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict/m", "POST"),
        ("PUT", "/predict_batched/m", "POST"),
        ("DELETE", "/predict/m", "POST"),
        ("POST", "/health", "GET"),
        ("POST", "/available_models", "GET"),
        ("POST", "/metrics", "GET"),
    ],
)
def test_405_names_the_method_that_is_allowed(method: str, path: str, allowed: str) -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.request(method, path)

    response = visit(use)
    assert_error(response, 405, "method_not_allowed")
    assert allowed in response.headers["allow"].split(", ")


class Chunks:
    """A body of unknown length, and how much of it was taken."""

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count, self.taken = size, count, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.taken += 1
            yield b" " * self.size


@ENDPOINTS
@pytest.mark.parametrize("announced", [True, False], ids=["Content-Length", "chunked"])
def test_413_before_more_than_the_limit_is_read(endpoint: str, announced: bool) -> None:
    chunks, backend = Chunks(1000, 1000), FakeBackend()
    headers = {"Content-Type": "application/json", **({"Content-Length": "1000000"} if announced else {})}

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(f"/{endpoint}/m", content=chunks, headers=headers)

    response = visit(use, backend, max_body_bytes=4096)
    assert "4096" in assert_error(response, 413, "body_too_large")
    assert chunks.taken <= (1 if announced else 6)
    assert backend.calls == []


@pytest.mark.parametrize(("size", "status"), [(1024, 200), (1025, 413)])
def test_the_limit_of_the_body_is_exact(size: int, status: int) -> None:
    body = b'{"features": [[1, 2, 3, 4]]}'.ljust(size)
    assert post("/predict/m", content=body, max_body_bytes=1024).status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": ""},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
        {"Content-Encoding": "identity, deflate"},
    ],
    ids=str,
)
def test_415_what_is_not_plain_json(headers: dict[str, str]) -> None:
    backend = FakeBackend()
    assert_error(post("/predict/m", None, backend, content=b"{}", headers=headers), 415, "unsupported_media_type")
    assert backend.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Content-Type": "application/vnd.x+json"},
        {"Content-Encoding": "identity"},
    ],
    ids=str,
)
def test_json_under_its_other_names_is_taken(headers: dict[str, str]) -> None:
    response = post("/predict/m", content=b'{"features": [[1, 2, 3, 4]]}', headers=headers)
    assert response.status_code == 200


def test_a_body_without_a_content_type_is_taken_for_json() -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        request = client.build_request("POST", "/predict/m", content=b'{"features": [[1, 2, 3, 4]]}')
        assert "content-type" not in request.headers
        return await client.send(request)

    assert visit(use).status_code == 200


@pytest.mark.parametrize(
    ("features", "detail"),
    [
        ([[1, 2]], "features[0] has 2 values, and the model takes 4."),
        ([[1, 2, 3, "4"]], "features[0][3]: expected a number, got a string."),
        ([], "features has no rows."),
    ],
)
def test_422_names_the_first_offender(features: Any, detail: str) -> None:
    backend = FakeBackend()
    assert assert_error(post("/predict/m", features, backend), 422, "bad_features") == detail
    assert backend.calls == []


def test_422_several_rows_on_predict_batched() -> None:
    assert_error(post("/predict_batched/m", ROW * 2), 422, "already_batched")


def test_429_with_the_seconds_until_the_next_request() -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post(f"/predict/{name}", json={"features": ROW}) for name in ("m", "other", "m")]

    first, second, third = visit(use, max_requests=2, requests_period_seconds=60)
    assert first.status_code == 200
    assert_error(second, 404, "unknown_model")
    assert_error(third, 429, "quota_exceeded")
    assert third.headers["retry-after"] == "30"


def test_without_max_requests_there_is_no_quota() -> None:
    async def use(client: httpx.AsyncClient) -> set[int]:
        return {(await client.post("/predict/m", json={"features": ROW})).status_code for _ in range(300)}

    assert visit(use) == {200}


SECRET = "/srv/models/m.pkl Traceback (most recent call last) shm_7"


@ENDPOINTS
@pytest.mark.parametrize("regime", [None, "busy", "rush"])
@pytest.mark.parametrize(
    ("backend", "status", "code"),
    [
        (fails_with(errors.ModelFailed("The model raised.", SECRET)), 500, "model_error"),
        (fails_with(errors.UpstreamRefused("Refused.", SECRET)), 500, "internal_error"),
        (fails_with(RuntimeError(SECRET)), 500, "internal_error"),
        (fails_with(errors.BadModelOutput("Not as promised.", SECRET)), 502, "bad_model_output"),
        (answers_with(np.zeros((1, 3), np.float32)), 502, "bad_model_output"),
        (answers_with(np.array([[np.inf, 0]], np.float32)), 502, "bad_model_output"),
        (fails_with(errors.QueueFull("Full.", SECRET)), 503, "queue_full"),
        (fails_with(errors.ModelUnavailable("Not there.", SECRET)), 503, "model_unavailable"),
        (fails_with(errors.UpstreamDown("Not there.", SECRET)), 503, "upstream_down"),
        (fails_with(errors.DeadlineExceeded("Late.", SECRET)), 504, "deadline_exceeded"),
    ],
)
def test_5xx_say_nothing_of_the_inside(
    endpoint: str, regime: str | None, backend: FakeBackend, status: int, code: str
) -> None:
    response = post(f"/{endpoint}/m", ROW, backend, regime=regime)
    assert_error(response, status, code)
    for word in ("srv", "Traceback", "shm", "RuntimeError"):
        assert word not in response.text


def test_503_while_the_model_could_not_be_loaded() -> None:
    backend = FakeBackend(load_errors={"m_direct": errors.ModelUnavailable("Not there.", SECRET)})
    response = post("/predict/m", ROW, backend)
    assert "/health" in assert_error(response, 503, "model_unavailable")
    assert response.headers["retry-after"] == "30"
    assert backend.calls == []


def test_503_over_the_bound_and_the_accepted_one_is_answered() -> None:
    gate = asyncio.Event()

    async def wait(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await gate.wait()
        return await sums(model, arrays, outputs)

    backend = FakeBackend(wait)

    async def use(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        accepted = asyncio.create_task(client.post("/predict/m", json={"features": ROW}))
        while not backend.calls:
            await asyncio.sleep(0)
        refused = await client.post("/predict/m", json={"features": ROW})
        gate.set()
        return await accepted, refused

    accepted, refused = visit(use, backend, max_concurrent_requests=1)
    assert accepted.json()["predictions"] == [[10.0, -10.0]]
    assert_error(refused, 503, "overloaded")
    assert refused.headers["retry-after"] == "1"


@ENDPOINTS
@pytest.mark.parametrize("regime", [None, "busy", "rush"])
def test_504_at_the_clients_deadline(endpoint: str, regime: str | None) -> None:
    backend = FakeBackend(hang)
    response = post(f"/{endpoint}/m", ROW, backend, headers={"X-Request-Timeout-Ms": "20"}, regime=regime)
    assert_error(response, 504, "deadline_exceeded")
    assert backend.calls[0].timeout <= 0.02


def test_504_at_our_deadline_where_the_client_asks_for_more() -> None:
    backend = FakeBackend(hang)
    headers = {"X-Request-Timeout-Ms": "60000"}
    response = post("/predict/m", ROW, backend, headers=headers, predict_timeout_seconds=0.02)
    assert_error(response, 504, "deadline_exceeded")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "soon", "1e3", "²", "١٢", "+5"])
def test_400_a_deadline_that_is_no_number_of_milliseconds(text: str) -> None:
    backend = FakeBackend()
    assert_error(post("/predict/m", ROW, backend, headers={"X-Request-Timeout-Ms": text}), 400, "bad_header")
    assert backend.calls == []


def test_a_deadline_of_many_digits_is_ours() -> None:
    backend = FakeBackend()
    assert post("/predict/m", ROW, backend, headers={"X-Request-Timeout-Ms": "9" * 5000}).status_code == 200
    assert 14 < backend.calls[0].timeout <= 15


def test_a_client_that_leaves_is_counted_as_499_and_holds_nothing() -> None:
    backend = FakeBackend()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> str:
        app = make_app(backend)
        async with running(app) as client:
            scope = {"type": "http", "method": "POST", "path": "/predict/m", "headers": [], "query_string": b"",
                     "client": ("192.0.2.1", 1)}  # fmt: skip
            await app(scope, receive, send)
            return (await client.get("/metrics")).text

    text = asyncio.run(main())
    assert 'status="499"' in text
    assert 'code="client_left"' in text
    assert "schwift_in_flight 0.0" in text
    assert backend.calls == []
