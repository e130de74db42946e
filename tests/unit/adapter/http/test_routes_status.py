"""What is there and how it is: /available_models, /health, /metrics, /openapi.json, and the request's id."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from adapter import errors
from adapter.app import create_app
from adapter.backend.error_mapping import translate
from adapter.backend.protocol import Arrays
from adapter.lifecycle.model_state import State
from adapter.sharing import SharedState
from converter.schema import dtypes
from converter.schema.manifest import Manifest, ModelEntry, Tensor
from converter.schema.settings import load_settings
from tests.support.codecs import Coded, rows_of
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.entries import make_columns_entry, make_entry
from tests.support.http.web_app import assert_error, get, make_app, post, running, visit
from tests.support.packs import HOST, make_host_entry, make_member


def failing(name: str, reason: str) -> FakeBackend:
    return FakeBackend(load_errors={f"{name}_direct": errors.ModelUnavailable("Not there.", reason)})


def test_available_models_says_what_each_takes_and_gives() -> None:
    entry = make_entry("iris", version=2.5, description="Flowers.", endpoints=["predict"], direct_max_rows=64)
    response = get("/available_models", None, entry)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "Accept"
    assert response.json() == {
        "models": [
            {
                "name": "iris",
                "version": "2.5",
                "description": "Flowers.",
                "backend": "python",
                "state": "ready",
                "endpoints": ["predict"],
                "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 4]}],
                "outputs": [{"name": "y", "dtype": "float32", "shape": [-1, 2]}],
                "max_batch_rows": 64,
            }
        ]
    }


def test_available_models_names_the_pack_of_a_model() -> None:
    manifest = Manifest(models=(make_member("a"), make_entry("b")), hosts=(make_host_entry(),))
    app = create_app(load_settings(None), manifest, FakeBackend(), SharedState([HOST, "a", "b"]))

    async def main() -> Any:
        async with running(app) as client:
            return (await client.get("/available_models")).json()

    assert [model.get("pack") for model in asyncio.run(main())["models"]] == ["default", None]


@pytest.mark.parametrize(("state", "status"), [("asleep", 200), ("failed", 503)])
def test_a_model_that_sleeps_is_healthy(state: State, status: int) -> None:
    entry = make_entry("a", load="lazy" if state == "asleep" else "eager")
    response = get("/health", None if state == "asleep" else failing("a", "no"), entry)
    assert (response.status_code, response.json()["models"]["a"]["state"]) == (status, state)


def test_available_models_says_what_may_be_missing_and_names_columns() -> None:
    columns: list[dict[str, Any]] = [
        {"name": "age", "dtype": "int64", "nullable": True},
        {"name": "city", "dtype": "string"},
    ]
    entries = make_columns_entry(columns), make_entry("t", [("x", "string", ())], nullable=["x"], classes=["no", "yes"])
    table, text = get("/available_models", None, *entries).json()["models"]
    assert table["inputs"] == [{"name": "features", "dtype": "mixed", "shape": [-1, 2], "columns": columns}]
    assert text["inputs"] == [{"name": "x", "dtype": "string", "shape": [-1], "nullable": True}]
    assert (text["classes"], "classes" in table) == (["no", "yes"], False)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("TEXT/HTML; q=1", True),
        ("text/html, application/json", True),
        ("application/json, text/html", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
        ("text/*", False),
        ("text/plain", False),
    ],
)
def test_html_only_for_those_who_ask_for_it(accept: str, html: bool) -> None:
    response = get("/available_models", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html" if html else "application/json")
    # Only what is long enough to be compressed goes by the other.
    assert response.headers["vary"] == ("Accept, Accept-Encoding" if html else "Accept")


def test_health_is_ok_when_every_model_is_ready() -> None:
    for path in ("/health", "/health/ready"):
        response = get(path)
        assert response.status_code == 200
        body = response.json()
        assert (body["status"], body["triton"]) == ("ok", "up")
        assert body["models"]["m"]["state"] == "ready"
        assert body["models"]["m"]["reason"] is None
        assert body["models"]["m"]["load_seconds"] >= 0


_RAISED = "the model's code raised ValueError while it was loaded: the server's log has the details"


def test_health_is_503_with_the_reason_of_the_model_that_failed() -> None:
    backend = failing("bad", "[schwift:model_error] ValueError: no such file '/srv/models/bad.pkl'\n\nAt:\n /srv/x")
    for path in ("/health", "/health/ready"):
        response = get(path, backend, make_entry("bad"), make_entry("good"))
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        body = response.json()
        assert (body["status"], body["triton"]) == ("unavailable", "up")
        assert body["models"]["good"]["state"] == "ready"
        assert body["models"]["bad"] == {
            "state": "failed", "reason": _RAISED, "load_seconds": None, "regime": "idle", "breaker": "closed",
            "last_failure": None,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        (None, "The model raised an error on this input."),
        ("full", "The model raised an error on this input: KeyError: 'town'"),
    ],
)
def test_the_last_failure_of_a_model_is_seen_by_its_type_unless_all_may_know(detail: str | None, told: str) -> None:
    async def handler(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        raise translate(None, "[schwift:model_error] KeyError: 'town'\n\nAt:\n  /srv/x")

    async def ask(client: httpx.AsyncClient) -> tuple[httpx.Response, Any]:
        answer = await client.post("/predict/m", json={"features": [[1, 2, 3, 4]]})
        return answer, (await client.get("/health")).json()["models"]["m"]

    answer, health = visit(ask, FakeBackend(handler), error_detail=detail)
    assert (answer.status_code, answer.json()["detail"]) == (500, told)
    assert health["state"] == "ready"
    failure = health["last_failure"]
    assert (failure["code"], failure["reason"]) == ("model_error", "KeyError" if detail is None else "KeyError: 'town'")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", failure["at"])


def test_health_while_triton_is_not_there() -> None:
    backend = FakeBackend(up=False)
    response = get("/health", backend)
    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "triton": "down",
        "breaker": "closed",
        "models": {
            "m": {
                "state": "waiting",
                "reason": None,
                "load_seconds": None,
                "regime": "idle",
                "breaker": "closed",
                "last_failure": None,
            }
        },
    }
    assert get("/health/live", backend).status_code == 200


def test_live_is_200_whatever_the_models_do() -> None:
    response = get("/health/live", failing("m", "no"))
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_the_lifespan_closes_the_backend_and_ends_the_keeper() -> None:
    backend = FakeBackend()

    async with running(make_app(backend)):
        assert any(task.get_name() == "reconciler" for task in asyncio.all_tasks())
        assert not backend.closed
    assert backend.closed
    assert not any(task.get_name() == "reconciler" for task in asyncio.all_tasks())


def test_metrics_count_requests_and_errors_and_add_tritons_own() -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        for features in ([[1, 2, 3, 4]], [[1, 2, 3, 4]] * 3, [[1]]):
            await client.post("/predict/m", json={"features": features})
        await client.post("/predict/never heard of", json={"features": [[1]]})
        return await client.get("/metrics")

    response = visit(use, FakeBackend(own_metrics=b"nv_inference_count 7\n"))
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    assert 'inference_requests_total{endpoint="predict",model_name="m"} 3.0' in lines
    assert 'inference_errors_total{endpoint="predict",model_name="m"} 1.0' in lines
    assert 'inference_latency_ms_count{endpoint="predict",model_name="m"} 2.0' in lines
    assert 'inference_batch_size_sum{endpoint="predict",model_name="m"} 4.0' in lines
    assert 'inference_requests_total{endpoint="predict_batched",model_name="m"} 0.0' in lines
    assert lines[-1] == "nv_inference_count 7"
    assert "never heard of" not in response.text


@pytest.mark.parametrize("regime", ["idle", "busy", "rush"])
def test_the_regime_of_a_model_is_shown(regime: str) -> None:
    async def use(client: httpx.AsyncClient) -> tuple[str, Any]:
        assert (await client.post("/predict_batched/m", json={"features": [[1, 2, 3, 4]]})).status_code == 200
        return (await client.get("/metrics")).text, (await client.get("/health")).json()

    text, health = visit(use, regime=regime)
    for word in ("idle", "busy", "rush"):
        assert f'schwift_regime{{model_name="m",regime="{word}"}} {float(word == regime)}' in text
    assert health["models"]["m"]["regime"] == regime


async def odd(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
    raise RuntimeError("odd")


def test_an_unexpected_error_is_counted_too() -> None:
    async def use(client: httpx.AsyncClient) -> str:
        await client.post("/predict/m", json={"features": [[1, 2, 3, 4]]})
        return (await client.get("/metrics")).text

    text = visit(use, FakeBackend(odd))
    assert 'inference_errors_total{endpoint="predict",model_name="m"} 1.0' in text
    assert "schwift_in_flight 0.0" in text


@pytest.mark.parametrize("given", ["abc", "A-1_b.2", "x" * 64])
def test_a_harmless_request_id_is_given_back(given: str) -> None:
    response = post("/predict/other", [[1]], headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == given
    assert response.json()["request_id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\tb", "a;b", "<b>", "é", "../../x"])
def test_any_other_request_id_is_replaced_by_one_of_ours(given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    response = post("/predict/other", [[1]], headers=headers)
    assert re.fullmatch("[0-9a-f]{20}", response.headers["x-request-id"])
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/predict/m", "/health", "/nowhere", "/openapi.json"])
def test_every_answer_has_a_request_id(path: str) -> None:
    first, second = (get(path).headers["x-request-id"] for _ in range(2))
    assert first != second


def test_the_openapi_document_says_what_any_address_may_answer() -> None:
    paths = get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            missing = {"400", "401", "403", "405", "408", "431"} - set(operation["responses"])
            assert not missing, f"{path}: {missing}"
    assert paths["/health"]["get"]["responses"]["503"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Health"
    }
    assert set(paths["/available_models"]["get"]["responses"]["200"]["content"]) == {"application/json", "text/html"}
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {
        "text/plain", "application/openmetrics-text",
    }  # fmt: skip


def every_kind_of_model() -> list[ModelEntry]:
    entries = [
        make_entry(f"m_{dtype.name}_{i}", inputs=[("x", dtype.name, dims)])
        for dtype in dtypes.DTYPES
        for i, dims in enumerate([(1,), (4,), (-1,), (2, 3), (300,)])
    ]
    two = make_entry("two", inputs=[("a", "int64", (1,)), ("b", "string", (-1, 2))])
    return [*entries, two, make_entry("one", endpoints=["predict"]), make_entry("other", endpoints=["predict_batched"])]


def test_every_example_of_the_openapi_document_is_taken_by_its_model() -> None:
    entries = every_kind_of_model()
    document = get("/openapi.json", None, *entries).json()
    refused = []
    for endpoint in ("predict", "predict_batched"):
        operation = document["paths"][f"/{endpoint}/{{model_name}}"]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        assert set(examples) == {entry.name for entry in entries if endpoint in entry.spec.endpoints}
        for entry in entries:
            if entry.name not in examples:
                continue
            try:
                arrays = Coded(entry).decode(json.dumps(examples[entry.name]["value"]).encode())
            except errors.AdapterError as error:
                refused.append(f"{endpoint} {entry.name}: {error.detail}")
            else:
                assert rows_of(arrays) == (1 if endpoint == "predict_batched" else 2)
    assert refused == []


def test_the_openapi_document_has_the_five_endpoints_and_the_errors_of_predict() -> None:
    document = get("/openapi.json").json()
    assert {
        "/predict/{model_name}", "/predict_batched/{model_name}", "/available_models", "/health", "/metrics",
    } <= set(document["paths"])  # fmt: skip
    operation = document["paths"]["/predict/{model_name}"]["post"]
    assert {"200", "400", "404", "413", "415", "422", "429", "500", "502", "503", "504"} <= set(operation["responses"])
    shared = document["components"]["parameters"]
    parameters = {
        found["name"]: found
        for item in operation["parameters"]
        for found in [shared[item["$ref"].rpartition("/")[2]] if "$ref" in item else item]
    }
    assert set(parameters) == {"model_name", "X-Request-Timeout-Ms", "labels"}
    assert parameters["model_name"]["examples"] == {"m": {"value": "m"}}


def test_an_example_sent_as_it_stands_is_answered() -> None:
    async def use(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        for endpoint in ("predict", "predict_batched"):
            operation = document["paths"][f"/{endpoint}/{{model_name}}"]["post"]
            example = operation["requestBody"]["content"]["application/json"]["examples"]["m"]["value"]
            assert (await client.post(f"/{endpoint}/m", json=example)).status_code == 200

    visit(use)


def test_a_missing_page_is_in_the_shape_of_every_error() -> None:
    assert_error(get("/nowhere"), 404, "not_found")
