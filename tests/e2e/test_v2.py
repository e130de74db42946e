"""The V2 protocol on the adapter's port, as its clients speak it, through a real Triton."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.e2e import named_inputs, v2_models
from tests.support.servers.server import Served
from tests.support.servers.serving import serving

WAYS = pytest.mark.parametrize("raw", [False, True], ids=["json", "raw"])


@pytest.fixture(scope="module")
def v2_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("v2")
    v2_models.write_all(folder / "models")
    with serving(folder / "models", folder, PREDICT_TIMEOUT_SECONDS="5") as running:
        yield running


@pytest.fixture
def client(v2_server: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(v2_server.url.removeprefix("http://"), concurrency=8) as made:
        yield made


def tensor(name: str, array: Any, raw: bool, datatype: str = "") -> Any:
    made = triton.InferInput(name, list(array.shape), datatype or np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, binary_data=raw)


def wanted(*names: str, raw: bool) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=raw) for name in names]


def as_sent(values: list[Any], dtype: Any) -> Any:
    """A column as a raw tensor: NaN and 0xFF stand for what is missing."""
    if dtype is object:
        return np.array([b"\xff" if value is None else value.encode() for value in values], object)
    return np.array([math.nan if value is None else value for value in values], dtype)


def test_the_client_sees_the_server_and_its_models(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("mixed")
    assert client.is_model_ready("mixed", "1") and not client.is_model_ready("mixed", "7")
    assert client.get_server_metadata()["name"] == "schwift"
    about = client.get_model_metadata("mixed")
    assert about["inputs"] == [
        {"name": "city", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "income", "datatype": "FP64", "shape": [-1, 1]},
        {"name": "age", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "children", "datatype": "FP64", "shape": [-1, 1]},
    ]
    assert about["outputs"] == [{"name": "predictions", "datatype": "FP64", "shape": [-1, 2]}]
    config = client.get_model_config("mixed")
    assert (config["max_batch_size"], config["output"][0]["data_type"]) == (8, "TYPE_FP64")
    names = {item["name"]: item["state"] for item in client.get_model_repository_index()}
    assert names == dict.fromkeys([*named_inputs.MODELS, *(f"echo_{n}" for n in v2_models.ECHOES), "slow"], "READY")


@WAYS
@pytest.mark.parametrize("name", v2_models.ECHOES)
def test_each_datatype_comes_back_as_it_was(client: Any, name: str, raw: bool) -> None:
    _, array = v2_models.ECHOES[name]
    answer = client.infer(
        f"echo_{name}", [tensor("features", array, raw)], request_id="mine", outputs=wanted("predictions", raw=raw)
    )
    assert answer.get_response()["id"] == "mine"
    output = answer.get_output("predictions")
    assert (output["shape"], output["datatype"]) == ([2, 3], np_to_triton_dtype(array.dtype))
    assert ("binary_data_size" in output.get("parameters", {})) is raw
    got = answer.as_numpy("predictions")
    if array.dtype == object and not raw:
        # The client leaves strings of JSON as they are.
        got = np.char.encode(got.astype(str), "utf-8")
    assert got.tolist() == array.tolist()


@WAYS
def test_columns_several_inputs_and_texts_answer_as_the_original(client: Any, raw: bool) -> None:
    table, mixed = named_inputs.TABLE, named_inputs.MODELS["mixed"]
    if raw:
        kinds = {"age": np.int64, "city": object, "income": np.float64, "children": np.float64}
        given = [tensor(name, as_sent(table[name], kind), raw) for name, kind in kinds.items()]
        answer = client.infer("mixed", given)
        np.testing.assert_allclose(answer.as_numpy("predictions"), mixed.expected(), rtol=1e-6)
    several = named_inputs.MODELS["several"]
    given = [tensor("b", np.array([[1.5], [2.5]]), raw), tensor("a", np.array([3, 4]), raw)]
    np.testing.assert_allclose(client.infer("several", given).as_numpy("predictions"), several.expected(), rtol=1e-6)
    texts = named_inputs.MODELS["texts"]
    given = [tensor("features", np.array([text.encode() for text in texts.rows], object), raw)]
    np.testing.assert_allclose(client.infer("texts", given).as_numpy("predictions"), texts.expected(), rtol=1e-6)


def test_missing_values_are_null_in_json(v2_server: Served) -> None:
    datatypes = {"age": "INT64", "city": "BYTES", "income": "FP64", "children": "INT64"}
    inputs = [
        {"name": name, "shape": [4, 1], "datatype": datatypes[name], "data": values}
        for name, values in named_inputs.TABLE.items()
    ]
    response = httpx.post(f"{v2_server.url}/v2/models/mixed/infer", json={"inputs": inputs})
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    assert output["shape"] == [4, 2]
    expected = np.ravel(named_inputs.MODELS["mixed"].expected())
    np.testing.assert_allclose(output["data"], expected, rtol=1e-6)


@WAYS
def test_large_bodies_are_answered_alike(client: Any, raw: bool) -> None:
    array = np.arange(120_000, dtype=np.float32).reshape(-1, 3)
    answer = client.infer("echo_fp32", [tensor("features", array, raw)], request_id="large")
    assert answer.get_response()["id"] == "large"
    np.testing.assert_array_equal(answer.as_numpy("predictions"), array)
    texts = np.array([[b"some text", b"\xc3\xa9", b""]] * 20_000, object)
    got = client.infer("echo_bytes", [tensor("features", texts, raw)]).as_numpy("predictions")
    assert got.tolist() == texts.tolist()


def test_requests_at_once_are_joined_with_those_of_the_other_endpoints(v2_server: Served, client: Any) -> None:
    """One that is in keeps the model; those that come meanwhile are one call, whoever sent them."""

    def calls() -> tuple[float, float]:
        lines = httpx.get(f"{v2_server.url}/metrics").text.splitlines()
        found = [
            next(float(line.split()[-1]) for line in lines if line.startswith(f'{name}{{model_name="slow"}}'))
            for name in ("schwift_calls_total", "schwift_call_rows_total")
        ]
        return found[0], found[1]

    before = calls()
    first = client.async_infer("slow", [tensor("features", np.array([[300]], np.float32), True)])
    with ThreadPoolExecutor(8) as pool:
        wait = [
            client.async_infer("slow", [tensor("features", np.array([[i]], np.float32), i % 2 == 1)]) for i in range(6)
        ]
        posts = [pool.submit(v2_server.post, "predict", "slow", [[float(i)]]) for i in (7, 8)]
        assert [post.result().json()["predictions"] for post in posts] == [[[7.0]], [[8.0]]]
    assert [item.get_result().as_numpy("predictions").tolist() for item in wait] == [[[float(i)]] for i in range(6)]
    assert first.get_result().as_numpy("predictions").tolist() == [[300.0]]
    after = calls()
    assert after[1] - before[1] == 9
    assert after[0] - before[0] < 9
    assert 'inference_requests_total{endpoint="v2",model_name="slow"} 7.0' in httpx.get(v2_server.url + "/metrics").text


def refused(client: Any, model: str, *tensors: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as raised:
        client.infer(model, list(tensors), **options)
    return raised.value.status(), raised.value.message()


def test_what_is_wrong_is_said_with_the_tensors_name(client: Any) -> None:
    row = np.zeros((1, 3), np.float32)
    assert refused(client, "nobody", tensor("features", row, True)) == (
        "404", "Request for unknown model: none has this name, see /v2/repository/index."
    )  # fmt: skip
    for name in ("echo_fp32_direct", "echo_fp32_alone", "~"):
        assert refused(client, name, tensor("features", row, True))[0] == "404"
    assert refused(client, "echo_fp32", tensor("x", row, True)) == (
        "400", 'The model has no input "x": it takes features.'
    )  # fmt: skip
    status, text = refused(client, "echo_fp32", tensor("features", row.astype(np.float64), True))
    assert status == "400" and 'input "features" has datatype FP64, and the model takes FP32: convert' in text
    status, text = refused(client, "echo_fp32", tensor("features", row[:, :2].copy(), False))
    assert status == "400" and 'input "features" has shape [1, 2], and the model takes [-1, 3]' in text
    status, text = refused(client, "mixed", tensor("age", np.array([3]), False))
    assert (status, text.startswith('input "city" is missing: send it with datatype BYTES')) == ("400", True)


def test_a_deadline_is_504_and_a_model_that_raises_500(v2_server: Served, client: Any) -> None:
    slow = tensor("features", np.array([[2000]], np.float32), True)
    status, text = refused(client, "slow", slow, headers={"X-Request-Timeout-Ms": "200"})
    assert (status, text) == ("504", "The request did not finish within its deadline.")
    negative = tensor("features", np.array([[-1]], np.float32), True)
    assert refused(client, "slow", negative)[0] == "500"
    response = httpx.get(v2_server.url + "/v2/models/slow/stats").json()["model_stats"][0]
    assert response["inference_stats"]["fail"]["count"] >= 2
