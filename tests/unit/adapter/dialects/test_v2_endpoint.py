"""The V2 addresses of the whole application: answers, errors in the protocol's form, keys, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapter import errors
from adapter.backend.protocol import Arrays
from converter.keys.store import add_key
from converter.schema.keys_file import ApiKey, hash_key, make_key
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http import web_app

PATH = "/v2/models/m/infer"
X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
NOW = datetime(2020, 1, 1, tzinfo=timezone.utc)
BOTH = make_entry(outputs=[("y", "float32", (2,)), ("word", "string", ())])


async def sums(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    x = arrays["x"]
    found: dict[str, Any] = {"y": np.stack([x.sum(1), -x.sum(1)], 1).astype(np.float32)}
    if len(outputs) > 1:
        found["word"] = np.array([[b'[",]'] for _ in x], object)
    return {tensor.name: found[tensor.name] for tensor in outputs}


def ask(
    body: Mapping[str, Any], *entries: ModelEntry, path: str = PATH, handler: Any = sums, **settings: Any
) -> httpx.Response:
    headers = {"x-request-id": "mine"}
    content = json.dumps(body).encode()
    return web_app.post(path, None, FakeBackend(handler), *entries, headers=headers, content=content, **settings)


def assert_error(response: httpx.Response, status: int) -> str:
    """The status, and a body of the one field; returns it."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in (429, 503))
    error: str = response.json()["error"]
    assert error
    return error


def test_an_answer_is_flat_and_has_the_id_and_the_version() -> None:
    response = ask({"inputs": [{**X, "shape": [2, 4], "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}], "id": "a"}, BOTH)
    assert response.json() == {
        "model_name": "m", "model_version": "1", "id": "a", "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [10, -10, 26, -26]},
            {"name": "word", "datatype": "BYTES", "shape": [2, 1], "data": ['[",]', '[",]']},
        ]
    }  # fmt: skip
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == "mine"


def test_outputs_that_are_asked_for_come_alone_and_raw_ones_behind() -> None:
    outputs = [{"name": "word", "parameters": {"binary_data": True}}, {"name": "y"}]
    response = ask({"inputs": [X], "outputs": outputs}, BOTH)
    head = int(response.headers["inference-header-content-length"])
    assert response.headers["content-type"] == "application/octet-stream"
    assert json.loads(response.content[:head])["outputs"] == [
        {"name": "word", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 8}},
        {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [10, -10]},
    ]
    assert response.content[head:] == b'\x04\0\0\0[",]'
    assert [item["name"] for item in ask({"inputs": [X], "outputs": outputs[1:]}, BOTH).json()["outputs"]] == ["y"]


def test_more_rows_than_a_call_takes_are_one_answer() -> None:
    many = {**X, "shape": [50, 4], "data": list(range(200))}
    wanted = np.arange(200).reshape(-1, 4).sum(1)
    data = ask({"inputs": [many]}).json()["outputs"][0]["data"]
    assert data == np.stack([wanted, -wanted], 1).ravel().tolist()
    response = ask({"inputs": [many], "parameters": {"binary_data_output": True}})
    raw = response.content[int(response.headers["inference-header-content-length"]) :]
    assert np.frombuffer(raw, np.float32).tolist() == data


def test_a_free_axis_is_as_long_as_the_models_answer() -> None:
    async def longer(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": np.ones((len(arrays["x"]), 3), np.float32)}

    (output,) = ask({"inputs": [X]}, make_entry(outputs=[("y", "float32", (-1,))]), handler=longer).json()["outputs"]
    assert (output["shape"], output["data"]) == ([1, 3], [1, 1, 1])


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("allowed", [False, True])
def test_numbers_that_are_not_finite(raw: bool, allowed: bool) -> None:
    async def nan(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        return {"y": np.full((len(arrays["x"]), 2), np.nan, np.float32)}

    entry = make_entry(non_finite=None) if allowed else make_entry()
    response = ask({"inputs": [X], "parameters": {"binary_data_output": raw}}, entry, handler=nan)
    if not allowed:
        assert_error(response, 502)
    elif raw:
        assert np.isnan(np.frombuffer(response.content[-8:], np.float32)).all()
    else:
        assert response.json()["outputs"][0]["data"] == [None, None]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ModelFailed("The model raised an error."), 500), (errors.QueueFull("Full."), 503),
        (errors.DeadlineExceeded("Late."), 504), (errors.ModelProcessDead("Dead."), 503), (ValueError("ours"), 500),
    ],
)  # fmt: skip
def test_errors_have_the_statuses_of_all_endpoints(error: Exception, status: int) -> None:
    async def fail(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise error

    assert_error(ask({"inputs": [X]}, handler=fail), status)


@pytest.mark.parametrize("name", ["other", "m_direct", "M", "..%2f..%2fetc", "%00", "%C3%A9", "n" * 9000])
def test_a_model_that_is_not_there(name: str) -> None:
    backend = FakeBackend()
    response = web_app.post(f"/v2/models/{name}/infer", None, backend, content=b"{}")
    assert_error(response, 404)
    assert backend.calls == []


def test_another_version_or_address_or_method() -> None:
    body: dict[str, Any] = {"inputs": [X]}
    assert ask(body, path="/v2/models/m/versions/1/infer").status_code == 200
    assert "version 1 alone" in assert_error(ask(body, path="/v2/models/m/versions/2/infer"), 404)
    for path in ("/v2/models/m/versions//infer", "/v2/models//infer", "/v2/repository/models/m/load", "/v2/logging"):
        assert_error(ask(body, path=path), 404)
    response = web_app.get(PATH)
    assert_error(response, 405)
    assert response.headers["allow"] == "POST"


def test_a_body_over_the_limit() -> None:
    assert "1024 bytes" in assert_error(ask({"inputs": [{**X, "data": [1.0] * 1000}]}, max_body_bytes=1024), 413)


def test_a_server_that_is_not_ready_says_so() -> None:
    backend = FakeBackend(load_errors={"m_direct": errors.ModelUnavailable("no")})
    for path in ("/v2/health/ready", "/v2/models/m/ready"):
        response = web_app.get(path, backend)
        assert (response.status_code, response.json()["ready"]) == (503, False)
        assert response.headers["retry-after"] == "1"
    assert web_app.get("/v2/health/live", backend).json() == {"live": True}
    assert web_app.get("/v2/models/m", backend).status_code == 200
    index = web_app.post("/v2/repository/index", None, backend, content=b"").json()
    assert [(item["name"], item["state"]) for item in index] == [("m", "UNAVAILABLE")]
    assert_error(web_app.post(PATH, None, backend, content=json.dumps({"inputs": [X]}).encode()), 503)


def test_requests_are_counted_under_their_own_name() -> None:
    async def use(client: httpx.AsyncClient) -> tuple[str, Any]:
        before = (await client.get("/metrics")).text
        assert 'endpoint="v2"' not in before
        two: dict[str, Any] = {**X, "shape": [2, 4], "data": [1] * 8}
        for inputs in ([X], [two], []):
            await client.post(PATH, content=json.dumps({"inputs": inputs}).encode())
        await client.post("/predict/m", json={"features": [[1, 2, 3, 4]]})
        stats = (await client.get("/v2/models/m/stats")).json()
        assert (await client.get("/v2/models/stats")).json() == stats
        return (await client.get("/metrics")).text, stats["model_stats"][0]

    metrics, stats = web_app.visit(use, FakeBackend(sums))
    assert 'inference_requests_total{endpoint="v2",model_name="m"} 3.0' in metrics
    assert 'schwift_responses_total{code="bad_tensor",endpoint="v2",model_name="m",status="400"} 1.0' in metrics
    assert (stats["inference_count"], stats["inference_stats"]["success"]["count"]) == (4, 3)
    assert stats["inference_stats"]["fail"]["count"] == 1
    # Triton's perf_analyzer gives up on others.
    stages = ("queue", "compute_input", "compute_infer", "compute_output")
    assert [stats["inference_stats"][stage]["count"] for stage in stages] == [3, 3, 3, 3]


def test_keys_hold(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    keys = {name: make_key() for name in ("predicts", "reads", "other")}
    add_key(path, ApiKey(name="predicts", sha256=hash_key(keys["predicts"]), created=NOW, predict=("m",)))
    add_key(path, ApiKey(name="reads", sha256=hash_key(keys["reads"]), created=NOW, read=True))
    add_key(path, ApiKey(name="other", sha256=hash_key(keys["other"]), created=NOW, predict=("else",)))

    async def use(client: httpx.AsyncClient) -> dict[tuple[str, str], int]:
        found = {}
        for name in ("", *keys):
            headers = {"x-api-key": keys[name]} if name else {}
            for address in ("/v2", "/v2/health/live", "/v2/models/m"):
                found[name, address] = (await client.get(address, headers=headers)).status_code
            for address in (PATH, "/v2/models/m/versions/1/infer"):
                response = await client.post(address, content=json.dumps({"inputs": [X]}), headers=headers)
                found[name, address] = response.status_code
                assert response.status_code == 200 or set(response.json()) == {"error"}
        return found

    found = web_app.visit(use, FakeBackend(sums), api_keys_file=path)
    infers, shown = (PATH, "/v2/models/m/versions/1/infer"), ("/v2", "/v2/health/live", "/v2/models/m")
    assert {found["", address] for address in (*infers, *shown)} == {401}
    assert {found["predicts", address] for address in infers} == {200}
    assert {found["reads", address] for address in infers} == {403}
    assert {found["other", address] for address in infers} == {403}
    assert {found["reads", address] for address in shown} == {200}
