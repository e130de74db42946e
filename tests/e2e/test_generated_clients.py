"""Clients generated from /openapi.json ask each model by its own function, and get what a plain POST gets."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.support.http.generated_clients import GeneratedClient, differences, generated_client
from tests.support.http.openapi_reading import complaints, examples, operations
from tests.support.servers.server import Served

# Not if it is absent: from 3.11 on it has to be there.
pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="openapi-python-client needs Python 3.11")


@pytest.fixture(scope="module")
def client(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratedClient]:
    with generated_client(server.url, tmp_path_factory.mktemp("generated")) as made:
        yield made


def test_each_model_answers_its_example_by_its_function(server: Served, client: GeneratedClient) -> None:
    assert list(differences(client, server.url)) == []


def test_the_functions_are_called_as_the_models_are(server: Served, client: GeneratedClient) -> None:
    rows = {"features": [[5.1, 3.5, 1.4, 0.2], [7.2, 3.2, 6.0, 1.8]]}
    assert client.call("predict_iris_onnx", rows) == (200, server.post("predict", "iris_onnx", rows["features"]).json())
    assert client.call("predict_batched_multiply", {"features": [[1.0, 2.0, 3.0]]}) == (
        200,
        {"model": "multiply", "predictions": [[2.5, 5.0, 7.5]]},
    )


def test_a_refusal_is_a_typed_answer(client: GeneratedClient) -> None:
    status, error = client.call("predict_multiply", {"features": [[1.0, 2.0]]})
    assert (status, error["code"]) == (422, "bad_features")
    assert error["detail"] == "features[0] has 2 values, and the model takes 3."
    status, error = client.call("predict_multiply", {"features": [[1.0, 2.0, 3.0]]}, x_request_timeout_ms=0)
    assert (status, error["code"]) == (400, "bad_header")


def test_what_is_there_and_how_it_is_has_functions_too(server: Served, client: GeneratedClient) -> None:
    status, health = client.call("health")
    plain = httpx.get(f"{server.url}/health").json()
    assert (status, health["status"], health["models"].keys()) == (200, "ok", plain["models"].keys())
    assert client.call("health_live") == (200, {"status": "ok"})
    assert client.call("available_models") == (200, httpx.get(f"{server.url}/available_models").json())
    assert client.call("v2_metadata", name="iris_onnx")[1] == httpx.get(f"{server.url}/v2/models/iris_onnx").json()
    inputs = [{"name": "features", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]
    status, answer = client.call("v2_infer", {"inputs": inputs}, name="multiply")
    assert (status, answer["outputs"][0]["data"]) == (200, [2.5, 5.0, 7.5])
    assert client.call("v1_predict", {"instances": [[1.0, 2.0, 3.0]]}, model_name="multiply") == (
        200,
        {"predictions": [[2.5, 5.0, 7.5]]},
    )
    assert client.call("v1_model", model_name="no")[0] == 404
    assert "inference_requests_total" in client.call("metrics")[1]


def test_the_document_of_a_real_server_is_by_its_own_schemas(server: Served) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    names = {model["name"] for model in httpx.get(f"{server.url}/available_models").json()["models"]}
    assert {f"/predict/{name}" for name in names} <= document["paths"].keys()
    assert "/predict_batched/direct_only" not in document["paths"]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert {
        where: said for where, schema, value in examples(document) if (said := complaints(document, schema, value))
    } == {}
