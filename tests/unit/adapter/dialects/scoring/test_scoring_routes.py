"""KServe V1 and MLflow over the whole application: forms of answers and errors, and the bounds that hold for all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from adapter import VERSION, errors
from adapter.backend.protocol import Arrays
from converter.keys.store import add_key
from converter.schema.keys_file import ApiKey, hash_key, make_key
from converter.schema.manifest import ModelEntry, Tensor
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_entry
from tests.support.http.web_app import framework, make_app, running, visit

V1, MLFLOW = "/v1/models/m:predict", "/models/m/invocations"
ROWS = [[1, 2, 3, 4], [5, 6, 7, 8]]
TABLE = "a,b,c,d\n1,2,3,4\n5,6,7,8\n"


async def totals(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    """The sum of each row in every number of each output, as the output's dtype."""
    total = arrays["x"].sum(axis=1)
    found = {}
    for tensor in outputs:
        values = np.repeat(total[:, None], tensor.dims[0], axis=1)
        if tensor.dtype == "string":
            texts = np.empty(values.shape, dtype=object)
            texts[:] = [[f'"],[{value:g}'.encode() for value in row] for row in values]
            values = texts
        found[tensor.name] = values if tensor.dtype == "string" else values.astype(tensor.dtype)
    return found


def posted(
    path: str, body: Any, *entries: ModelEntry, backend: FakeBackend | None = None, media: str = "application/json",
    headers: dict[str, str] | None = None, **settings: Any,
) -> httpx.Response:  # fmt: skip
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    sent = {"Content-Type": media, **(headers or {})}

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(path, content=content, headers=sent)

    return visit(use, backend or FakeBackend(totals), *entries, **settings)


OUTPUTS: dict[str, tuple[list[Any], list[Any]]] = {
    "wide": ([("y", "float32", (2,))], [[10.0, 10.0], [26.0, 26.0]]),
    "one wide": ([("y", "float64", (1,))], [10.0, 26.0]),
    "integers": ([("y", "int64", (1,))], [10, 26]),
    "booleans": ([("y", "bool", (1,))], [True, True]),
    "texts": ([("y", "string", (1,))], ['"],[10', '"],[26']),
    "wide texts": ([("y", "string", (2,))], [['"],[10'] * 2, ['"],[26'] * 2]),
    "several": (
        [("label", "int64", (1,)), ("scores", "float32", (2,))],
        [{"label": 10, "scores": [10.0, 10.0]}, {"label": 26, "scores": [26.0, 26.0]}],
    ),
}


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize(
    ("path", "body", "media"),
    [
        (V1, {"instances": ROWS}, "application/json"),
        (MLFLOW, {"inputs": ROWS}, "application/json; charset=utf-8"),
        ("/invocations", TABLE, "text/csv"),
    ],
)
def test_answers_are_flat_where_one_value_wide_and_objects_for_several_outputs(
    kind: str, path: str, body: Any, media: str
) -> None:
    outputs, wanted = OUTPUTS[kind]
    response = posted(path, body, make_entry(outputs=outputs), media=media)
    assert (response.status_code, response.json()) == (200, {"predictions": wanted})
    assert response.headers["content-type"] == "application/json"


def test_labels_name_classes_here_too() -> None:
    entry = make_entry(classes=["a", "b"])
    response = posted(f"{V1}?labels=true", {"instances": ROWS[:1]}, entry)
    assert response.json() == {"predictions": [{"a": 10.0, "b": 10.0}]}


def raises(error: Exception) -> FakeBackend:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise error

    return FakeBackend(handler)


FAULTS: dict[str, tuple[Any, FakeBackend | None, dict[str, str], int, str, str]] = {
    "syntax": ("{", None, {}, 400, "MALFORMED_REQUEST", "The body is not JSON: Input data was truncated."),
    "no field": ({}, None, {}, 422, "INVALID_PARAMETER_VALUE", ""),
    "a text": ({"instances": [[1, 2, 3, "x"]]}, None, {}, 422, "INVALID_PARAMETER_VALUE",
               "instances[0][3]: expected a number, got a string."),
    "too large a number": ({"instances": [[1, 2, 3, 1e300]]}, None, {}, 422, "INVALID_PARAMETER_VALUE",
                           "instances[0][3]: the number does not fit float32, which the model takes."),
    "a name": ({"instances": [{"z": [1, 2, 3, 4]}]}, None, {}, 400, "BAD_REQUEST",
               'instances[0]: the input "x" is missing, and the model has no input "z".'),
    "media": ({"instances": ROWS}, None, {"Content-Type": "text/plain"}, 415, "INVALID_PARAMETER_VALUE", ""),
    "deadline": ({"instances": ROWS}, None, {"X-Request-Timeout-Ms": "x"}, 400, "BAD_REQUEST", ""),
    "raised": ({"instances": ROWS}, raises(errors.ModelFailed("The model raised an error.")), {}, 500,
               "INTERNAL_ERROR", "The model raised an error."),
    "full": ({"instances": ROWS}, raises(errors.QueueFull("The queue is full.")), {}, 503,
             "TEMPORARILY_UNAVAILABLE", "The queue is full."),
    "late": ({"instances": ROWS}, raises(errors.DeadlineExceeded(errors.DEADLINE)), {}, 504,
             "DEADLINE_EXCEEDED", errors.DEADLINE),
    "ours": ({"instances": ROWS}, raises(RuntimeError("secret")), {}, 500, "INTERNAL_ERROR", ""),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", [V1, MLFLOW])
def test_errors_have_the_dialects_own_form_and_the_contracts_status(fault: str, path: str) -> None:
    body, backend, headers, status, code, said = FAULTS[fault]
    response = posted(path, body, backend=backend, headers=headers)
    answer = response.json()
    assert response.status_code == status
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status == 503)
    if path == V1:
        assert set(answer) == {"error"}
        detail = answer["error"]
    else:
        assert (set(answer), answer["error_code"]) == ({"error_code", "message"}, code)
        detail = answer["message"]
    assert detail and (not said or detail == said)
    assert "secret" not in detail


@pytest.mark.parametrize("path", ["/v1/models/other:predict", "/models/other/invocations"])
def test_404_an_unknown_model(path: str) -> None:
    response = posted(path, {"instances": ROWS})
    assert response.status_code == 404
    assert "No model has this name: see /available_models." in response.json().values()


def test_a_model_without_predict_is_asked_all_the_same() -> None:
    response = posted(
        V1, {"instances": ROWS}, make_entry(endpoints=["predict_batched"], outputs=(("y", "float32", (1,)),))
    )
    assert (response.status_code, response.json()) == (200, {"predictions": [10.0, 26.0]})


def test_invocations_ask_the_default_model(caplog: pytest.LogCaptureFixture) -> None:
    two = make_entry("a"), make_entry("b", outputs=(("y", "float32", (1,)),))
    response = posted("/invocations", {"inputs": ROWS}, *two)
    assert response.status_code == 404
    assert "SCHWIFT_DEFAULT_MODEL" in response.json()["message"]
    assert posted("/invocations", {"inputs": ROWS}, *two, default_model="b").json() == {"predictions": [10, 26]}
    assert "SCHWIFT_DEFAULT_MODEL" not in caplog.text
    response = posted("/invocations", {"inputs": ROWS}, *two, default_model="c")
    assert "SCHWIFT_DEFAULT_MODEL: no model has this name now" in caplog.text
    assert (response.status_code, response.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_models_and_their_state() -> None:
    async def use(client: httpx.AsyncClient) -> list[tuple[int, str]]:
        paths = ["/v1/models", "/v1/models/b", "/v1/models/c", "/ping", "/version"]
        return [(found.status_code, found.text) for found in [await client.get(path) for path in paths]]

    assert visit(use, None, make_entry("a"), make_entry("b")) == [
        (200, '{"models":["a","b"]}'),
        (200, '{"name":"b","ready":true}'),
        (404, '{"error":"No model has this name: see /v1/models."}'),
        (200, "\n"),
        (200, VERSION),
    ]


def test_a_model_that_is_not_loaded_is_not_ready() -> None:
    async def use(client: httpx.AsyncClient) -> list[tuple[int, str, bool]]:
        found = [await client.get(path) for path in ("/v1/models/m", "/ping")]
        return [(answer.status_code, answer.text, "retry-after" in answer.headers) for answer in found]

    backend = FakeBackend(load_errors={"m_direct": errors.ModelUnavailable("no")})
    assert visit(use, backend) == [(503, '{"name":"m","ready":false}', True), (503, "\n", True)]


def test_requests_are_counted_under_the_dialect_once_it_is_spoken() -> None:
    async def use(client: httpx.AsyncClient) -> tuple[str, str]:
        before = (await client.get("/metrics")).text
        for path, body in [(V1, {"instances": ROWS}), (V1, {}), (MLFLOW, {"inputs": ROWS})]:
            await client.post(path, json=body)
        return before, (await client.get("/metrics")).text

    before, after = visit(use, FakeBackend(totals))
    assert 'endpoint="v1"' not in before and 'endpoint="mlflow"' not in before
    for line in (
        'inference_requests_total{endpoint="v1",model_name="m"} 2.0',
        'inference_errors_total{endpoint="v1",model_name="m"} 1.0',
        'schwift_responses_total{code="bad_features",endpoint="v1",model_name="m",status="422"} 1.0',
        'inference_requests_total{endpoint="mlflow",model_name="m"} 1.0',
        'inference_batch_size_sum{endpoint="mlflow",model_name="m"} 2.0',
        'inference_requests_total{endpoint="predict",model_name="m"} 0.0',
    ):
        assert f"\n{line}\n" in after, line


def test_quotas_and_the_limit_of_bodies_hold() -> None:
    async def use(client: httpx.AsyncClient) -> list[int]:
        bodies = [{"instances": ROWS}, {"instances": ROWS * 200}, {"instances": ROWS}]
        return [(await client.post(V1, json=body)).status_code for body in bodies]

    assert visit(use, FakeBackend(totals), max_requests=2, max_body_bytes=1024) == [200, 413, 429]


@pytest.mark.parametrize("media", ["application/json", "text/csv"])
def test_a_large_body_is_read_by_the_helper_and_answered_alike(media: str) -> None:
    count = 40_000
    rows = [[i, i + 1, 2, 0.5] for i in range(count)]
    is_csv = media == "text/csv"
    body = "a,b,c,d\n" + "".join(",".join(map(str, row)) + "\n" for row in rows) if is_csv else {"inputs": rows}
    response = posted(MLFLOW, body, make_entry(outputs=(("y", "float64", (1,)),)), media=media)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == [2 * i + 3.5 for i in range(count)]
    rows[-1][3] = 1e300
    body = "a,b,c,d\n" + "".join(",".join(map(str, row)) + "\n" for row in rows) if is_csv else {"inputs": rows}
    response = posted(MLFLOW, body, media=media)
    where = "rows" if is_csv else "inputs"
    wanted = f"{where}[39999][3]: the number does not fit float32, which the model takes."
    assert (response.status_code, response.json()["message"]) == (422, wanted)


def test_rows_of_all_dialects_are_joined_in_one_call() -> None:
    """Those that come while the model is busy; each gets its own row, in its own form."""
    free = asyncio.Event()

    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        if not free.is_set():
            await free.wait()
        return await totals(model, arrays, outputs)

    backend = FakeBackend(handler)
    requests: list[tuple[str, Any]] = [
        ("/predict/m", {"features": [[1, 0, 0, 0]]}),
        (V1, {"instances": [[2, 0, 0, 0]]}),
        (MLFLOW, {"dataframe_split": {"data": [[3, 0, 0, 0]]}}),
        ("/invocations", {"inputs": [[4, 0, 0, 0]]}),
    ]

    async def use(client: httpx.AsyncClient) -> list[Any]:
        busy = asyncio.create_task(client.post("/predict/m", json={"features": ROWS}))
        await turn()
        waiting = [asyncio.create_task(client.post(path, json=body)) for path, body in requests]
        await turn()
        free.set()
        found = [(await answer).json()["predictions"] for answer in waiting]
        await busy
        spoken = {1: "predict", 2: "v1", 3: "mlflow", 4: "mlflow"}
        calls = [call.arrays["x"][:, 0].tolist() for call in backend.calls[1:]]
        assert any(len({spoken[row] for row in rows}) > 1 for rows in calls), calls
        return found

    entry = make_entry(outputs=(("y", "int64", (1,)),))
    assert visit(use, backend, entry) == [[[1]], [2], [3], [4]]


async def turn() -> None:
    for _ in range(500):
        await asyncio.sleep(0)


def test_the_frameworks_routes_answer_the_same() -> None:
    async def ask(in_front: bool) -> list[tuple[int, bytes]]:
        app = make_app(FakeBackend(totals))
        async with running(app) as client:
            if not in_front:
                transport = httpx.ASGITransport(framework(app))
                client = httpx.AsyncClient(transport=transport, base_url="http://t")
            found = [
                await client.post(V1, json={"instances": ROWS}),
                await client.post(V1, json={"instances": 1}),
                await client.post(MLFLOW, content=TABLE, headers={"Content-Type": "text/csv"}),
                await client.post("/invocations", json={"inputs": ROWS}),
                await client.post("/models/m%2Fx/invocations", json={"inputs": ROWS}),
                await client.get(V1),
            ]
        ids = {answer.headers["x-request-id"] for answer in found}
        assert len(ids) == len(found)
        return [(answer.status_code, answer.content.replace(answer.headers["x-request-id"].encode(), b"")) for
                answer in found]  # fmt: skip

    usual, plain = asyncio.run(ask(True)), asyncio.run(ask(False))
    assert [status for status, _ in usual] == [200, 422, 200, 200, 404, 405]
    assert plain == usual


def test_a_key_for_one_model_asks_that_by_every_address(tmp_path: Path) -> None:
    key, file = make_key(), tmp_path / "keys.json"
    add_key(file, ApiKey(name="one", sha256=hash_key(key), created=datetime.now(timezone.utc), predict=("b",)))
    two = make_entry("a"), make_entry("b")

    async def use(client: httpx.AsyncClient) -> list[int]:
        paths = ["/v1/models/b:predict", "/models/b/invocations", "/invocations", "/v1/models/a:predict",
                 "/models/a/invocations", "/models/%62/invocations"]  # fmt: skip
        asked = [client.post(path, json={"instances": ROWS}, headers={"X-API-Key": key}) for path in paths]
        bare = await client.post("/invocations", json={"instances": ROWS})
        assert set(bare.json()) == {"error_code", "message"} and bare.json()["error_code"] == "UNAUTHENTICATED"
        reads = [client.get(path, headers={"X-API-Key": key}) for path in ("/v1/models", "/ping")]
        return [(await answer).status_code for answer in [*asked, *reads]] + [bare.status_code]

    found = visit(use, FakeBackend(totals), *two, api_keys_file=file, default_model="b")
    assert found == [200, 200, 200, 403, 403, 403, 403, 403, 401]
