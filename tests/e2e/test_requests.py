"""Requests against real models behind a real Triton: what is joined, what fails, and who it fails for."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import httpx
import numpy as np
import pytest

from adapter.backend.http_client import HttpInference
from adapter.lifecycle.liveness import canary_id
from converter.schema.manifest import read_manifest
from tests.support.servers.server import Served


def triton_counter(server: Served, name: str, model: str) -> float:
    text = httpx.get(f"http://{server.triton_metrics}/metrics").text
    found = re.search(rf'^{name}{{model="{model}",[^}}]*}} (\S+)$', text, re.MULTILINE)
    assert found, f"{name} of {model} is not among Triton's metrics"
    return float(found[1])


def at_once(server: Served, model: str, rows: list[list[float]]) -> list[httpx.Response]:
    """Each row by a client of its own, all at the same time: making a client takes longer than a batch waits."""
    together = Barrier(len(rows))
    url = f"{server.url}/predict_batched/{model}"

    def ask(client: httpx.Client, row: list[float]) -> httpx.Response:
        together.wait(30)
        return client.post(url, json={"features": [row]})

    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(timeout=30)) for _ in rows]
        pool = stack.enter_context(ThreadPoolExecutor(len(rows)))
        return list(pool.map(ask, clients, rows))


def test_clients_at_once_are_batched(server: Served) -> None:
    """While the model is busy with one request, the others come together."""

    def counts() -> tuple[float, float]:
        # The model's count: on the front Triton counts its wake-ups too.
        counted = triton_counter(server, "nv_inference_count", "fussy_direct")
        return counted, triton_counter(server, "nv_inference_exec_count", "fussy_direct")

    count, executions = counts()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(server.post, "predict_batched", "fussy", [[-5.0, 1.5]])
        time.sleep(0.3)
        others = at_once(server, "fussy", [[float(i), 0.0] for i in range(8)])
        assert slow.result().json()["predictions"] == [[-10.0, 3.0]]
    assert [other.json()["predictions"] for other in others] == [[[2.0 * i, 0.0]] for i in range(8)]
    count_after, executions_after = counts()
    # The reconciler may have asked a row of its own meanwhile, each in a call of its own.
    rows, calls = count_after - count, executions_after - executions
    assert rows >= 9
    assert calls <= rows - 4


def test_joined_answers_belong_to_their_rows(server: Served) -> None:
    rows = [[float(i), float(-i), i / 7] for i in range(64)]
    for row, response in zip(rows, at_once(server, "multiply", rows), strict=True):
        np.testing.assert_allclose(response.json()["predictions"], [np.array(row) * 2.5], rtol=1e-6)


def test_R7_a_row_that_raises_fails_alone(server: Served) -> None:
    rows = [[float(i), 1.0] for i in range(6)] + [[-1.0, 0.0]]
    *good, bad = at_once(server, "fussy", rows)
    for row, response in zip(rows, good, strict=False):
        assert (response.status_code, response.json()["predictions"]) == (200, [[row[0] * 2, row[1] * 2]])
    assert (bad.status_code, bad.json()["code"]) == (500, "model_error")
    assert "secret" not in bad.text and "Traceback" not in bad.text


@pytest.mark.parametrize("first", [-2.0, -3.0, -6.0])
@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_R8_an_answer_that_breaks_the_promise_is_502(server: Served, endpoint: str, first: float) -> None:
    response = server.post(endpoint, "fussy", [[first, 0.0]])
    assert (response.status_code, response.json()["code"]) == (502, "bad_model_output")


def test_R9_a_number_that_is_not_finite_is_502_or_null(server: Served) -> None:
    response = server.post("predict", "fussy", [[-4.0, 1.0]])
    assert (response.status_code, response.json()["code"]) == (502, "bad_model_output")
    response = server.post("predict", "fussy_null", [[-4.0, 1.0], [1.0, 2.0]])
    assert (response.status_code, response.json()["predictions"]) == (200, [[None, None], [1.0, 2.0]])


def test_a_slow_model_is_504_at_the_clients_deadline(server: Served) -> None:
    response = server.post("predict", "fussy", [[-5.0, 0.5]], headers={"X-Request-Timeout-Ms": "100"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert response.elapsed.total_seconds() < 0.5
    assert server.post("predict", "fussy", [[1.0, 2.0]]).json()["predictions"] == [[2.0, 4.0]]


def test_the_queues_timeout_is_not_the_calls(server: Served) -> None:
    response = server.post("predict_batched", "short_queue", [[-5.0, 0.4]])
    assert (response.status_code, response.json()["predictions"]) == (200, [[-10.0, 0.8]])


def test_more_rows_than_a_batch_are_cut_and_joined(server: Served) -> None:
    """fussy's largest batch is 8."""
    rows = [[float(i), 0.5] for i in range(27)]
    response = server.post("predict", "fussy", rows)
    assert response.json()["predictions"] == [[row[0] * 2, 1.0] for row in rows]


def test_several_rows_are_not_taken_on_predict_batched(server: Served) -> None:
    response = server.post("predict_batched", "fussy", [[1.0, 2.0], [3.0, 4.0]])
    assert (response.status_code, response.json()["code"]) == (422, "already_batched")


@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
def test_a_flat_list_is_one_row(server: Served, endpoint: str) -> None:
    assert server.post(endpoint, "multiply", [1.0, 2.0, 3.0]).json()["predictions"] == [[2.5, 5.0, 7.5]]


@pytest.mark.parametrize("endpoint", ["predict", "predict_batched"])
@pytest.mark.parametrize(
    ("model", "features", "predictions"),
    [
        (
            "pairs",
            {"left": [[1, 20]], "right": [[300, 4]]},
            {"sum": [[301, 24]], "longer": [["[300   4]"]]},
        ),
        ("onnx_strings", {"word": [["größe"]], "flag": [[True]]}, {"same": [["größe"]], "negated": [[False]]}),
        ("onnx_label", [[0.1, 0.7, 0.2]], [[1]]),
        ("eager", [[1.0, 1.0, 1.0]], [[3.5, 12.5]]),
    ],
)
def test_other_kinds_of_tensors(server: Served, endpoint: str, model: str, features: Any, predictions: Any) -> None:
    response = server.post(endpoint, model, features)
    assert response.status_code == 200, response.text
    assert response.json() == {"model": model, "predictions": predictions}


def test_a_cached_model_answers_twice_and_is_run_once(server: Served) -> None:
    def hits() -> float:
        # What the model ran would not do: the reconciler may ask a row of its own meanwhile, each time another one.
        return triton_counter(server, "nv_cache_num_hits_per_model", "cached")

    before = hits()
    for _ in range(3):
        assert server.post("predict_batched", "cached", [[21.0, 0.25]]).json()["predictions"] == [[42.0, 0.5]]
    assert hits() == before + 2


def test_tritons_own_fields_reach_triton(server: Served) -> None:
    cores = read_manifest(server.repository).model("tuned")
    assert cores is not None and 1 <= cores.spec.instances <= 4
    direct, front = (
        httpx.get(f"http://{server.triton_http}/v2/models/{name}/config").json() for name in ("tuned_direct", "tuned")
    )
    assert direct["metric_tags"] == {"team": "fraud"}
    assert (direct["optimization"]["eager_batching"], direct["max_batch_size"]) == (True, 16)
    (group,) = direct["instance_group"]
    assert (group["host_policy"], group["kind"], group["count"]) == ("socket_0", "KIND_CPU", cores.spec.instances)
    assert direct["parameters"]["note"] == {"string_value": 'say "hi"'}
    assert [warmup["name"] for warmup in direct["model_warmup"]] == ["a row"]
    assert front["dynamic_batching"]["priority_levels"] == 3
    assert front["dynamic_batching"]["default_priority_level"] == 2


def test_a_model_with_priorities_answers_its_clients_and_tritons(server: Served) -> None:
    for endpoint in ("predict", "predict_batched"):
        assert server.post(endpoint, "tuned", [[1.0, 2.0]]).json()["predictions"] == [[2.0, 4.0]]
    rows = {"name": "features", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}
    for priority in (1, 3, 0):
        body = {"inputs": [rows], "parameters": {"priority": priority}}
        answer = httpx.post(f"http://{server.triton_http}/v2/models/tuned/infer", json=body, timeout=30).json()
        assert answer["outputs"][0]["data"] == [2.0, 4.0], answer


def test_an_endpoint_that_is_left_out_is_404(server: Served) -> None:
    assert server.post("predict", "direct_only", [[1.0, 2.0]]).json()["predictions"] == [[2.0, 4.0]]
    response = server.post("predict_batched", "direct_only", [[1.0, 2.0]])
    assert (response.status_code, response.json()["code"]) == (404, "endpoint_off")


def test_metrics_have_the_users_names_and_tritons(server: Served) -> None:
    server.post("predict", "multiply", [[1.0, 2.0, 3.0]])
    text = httpx.get(f"{server.url}/metrics").text
    for name in ("inference_requests_total", "inference_latency_ms_count", "inference_batch_size_sum"):
        assert re.search(rf'^{name}{{endpoint="predict",model_name="multiply"}} [1-9]', text, re.MULTILINE), name
    assert re.search(r'^inference_errors_total{endpoint="predict",model_name="multiply"} ', text, re.MULTILINE)
    assert re.search(r'^nv_inference_request_success{model="multiply_direct",version="1"} [1-9]', text, re.MULTILINE)


def test_every_documented_example_is_accepted(server: Served) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    for endpoint in ("predict", "predict_batched"):
        body = paths[f"/{endpoint}/{{model_name}}"]["post"]["requestBody"]["content"]["application/json"]
        assert {"iris_logreg", "multiply", "pairs", "onnx_strings"} <= set(body["examples"])
        for model, example in body["examples"].items():
            response = httpx.post(f"{server.url}/{endpoint}/{model}", json=example["value"], timeout=30)
            assert response.status_code == 200, f"{endpoint} {model}: {response.text}"


def test_health_names_every_model(server: Served) -> None:
    response = httpx.get(f"{server.url}/health")
    assert (response.status_code, response.json()["status"], response.json()["triton"]) == (200, "ok", "up")
    assert {model["state"] for model in response.json()["models"].values()} == {"ready"}
    listed = {model["name"] for model in httpx.get(f"{server.url}/available_models").json()["models"]}
    assert set(response.json()["models"]) == listed


def test_a_canary_of_a_front_is_answered_by_it_and_costs_the_model_nothing(server: Served) -> None:
    """The same row under another id is a client's."""
    entry = read_manifest(server.repository).model("multiply")
    assert entry is not None and entry.front is not None
    front = entry.front
    known_as = canary_id(server.repository, entry)
    assert len(known_as) > 32

    async def ask(request_id: str) -> list[list[float]]:
        backend = HttpInference(server.triton_http)
        try:
            arrays = {entry.inputs[0].name: np.array([[1, 2, 3]], np.float32)}
            deadline = asyncio.get_running_loop().time() + 10
            found = await backend.infer(front, entry, arrays, deadline, request_id=request_id)
            answer: list[list[float]] = found[entry.outputs[0].name].tolist()
            return answer
        finally:
            backend.close()

    assert asyncio.run(ask(known_as)) == [[0, 0, 0]]
    assert asyncio.run(ask(known_as + "x")) == asyncio.run(ask("")) == [[2.5, 5, 7.5]]
