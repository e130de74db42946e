"""The V2 protocol over gRPC, as its clients speak it, through a real Triton; with keys, and without."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.e2e import named_inputs, v2_models
from tests.support.attacks.keyed import add_key
from tests.support.servers.asking import metric
from tests.support.servers.certificates import self_signed
from tests.support.servers.ports import free_port
from tests.support.servers.server import Server, wait_for
from tests.support.servers.serving import serving

SETTINGS = {"PREDICT_TIMEOUT_SECONDS": "5", "SCHWIFT_ACCESS_LOG": "errors"}


@pytest.fixture(scope="module")
def grpc_address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def grpc_server(tmp_path_factory: pytest.TempPathFactory, grpc_address: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("v2_grpc")
    v2_models.write_all(folder / "models")
    port = grpc_address.rpartition(":")[2]
    with serving(folder / "models", folder, SCHWIFT_GRPC_PORT=port, **SETTINGS) as running:
        yield running


@pytest.fixture
def client(grpc_server: Server, grpc_address: str) -> Iterator[Any]:
    with triton.InferenceServerClient(grpc_address) as made:
        yield made


def tensor(name: str, array: Any) -> Any:
    made = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array)


def test_the_client_sees_the_server_and_its_models(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("several", "1")
    assert client.get_server_metadata().name == "schwift"
    about = client.get_model_metadata("several", as_json=True)
    assert [(item["name"], item["datatype"], item["shape"]) for item in about["inputs"]] == [
        ("a", "INT64", ["-1", "1"]), ("b", "FP64", ["-1", "1"])
    ]  # fmt: skip
    assert client.get_model_config("echo_bytes").config.input[0].data_type == 13
    names = {model.name for model in client.get_model_repository_index().models}
    assert names == {*named_inputs.MODELS, *(f"echo_{name}" for name in v2_models.ECHOES), "slow"}
    with pytest.raises(InferenceServerException) as raised:
        client.load_model("several")
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


@pytest.mark.parametrize("name", v2_models.ECHOES)
def test_each_datatype_comes_back_as_it_was(client: Any, name: str) -> None:
    _, array = v2_models.ECHOES[name]
    outputs = [triton.InferRequestedOutput("predictions")]
    answer = client.infer(f"echo_{name}", [tensor("features", array)], request_id="mine", outputs=outputs)
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("mine", f"echo_{name}", "1")
    assert answer.as_numpy("predictions").tolist() == array.tolist()


def test_typed_contents_are_taken_too(grpc_server: Server, grpc_address: str) -> None:
    table = named_inputs.TABLE
    request = service_pb2.ModelInferRequest(model_name="mixed")
    for name, datatype, field in (
        ("age", "INT64", "int64_contents"), ("city", "BYTES", "bytes_contents"), ("income", "FP64", "fp64_contents"),
        ("children", "FP64", "fp64_contents"),
    ):  # fmt: skip
        given = request.inputs.add(name=name, datatype=datatype, shape=[4, 1])
        missing = b"\xff" if datatype == "BYTES" else math.nan
        values = [missing if v is None else v.encode() if isinstance(v, str) else v for v in table[name]]
        getattr(given.contents, field).extend(values)
    with grpc.insecure_channel(grpc_address) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    got = np.frombuffer(answer.raw_output_contents[0]).reshape(answer.outputs[0].shape)
    np.testing.assert_allclose(got, named_inputs.MODELS["mixed"].expected(), rtol=1e-6)


def test_large_messages_of_numbers_are_answered(client: Any) -> None:
    array = np.arange(120_000, dtype=np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(client.infer("echo_fp32", [tensor("features", array)]).as_numpy("predictions"), array)
    texts = np.array([[b"some text"] * 3] * 20_000, object)
    assert refused(client, "echo_bytes", tensor("features", texts))[0] == "StatusCode.RESOURCE_EXHAUSTED"


def refused(client: Any, model: str, *tensors: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as raised:
        client.infer(model, list(tensors), **options)
    return raised.value.status(), raised.value.message()


def test_what_is_wrong_is_said_with_its_code(client: Any) -> None:
    row = np.zeros((1, 3), np.float32)
    assert refused(client, "echo_fp32_direct", tensor("features", row))[0] == "StatusCode.NOT_FOUND"
    assert refused(client, "echo_fp32", tensor("features", row), model_version="7")[0] == "StatusCode.NOT_FOUND"
    assert refused(client, "echo_fp32", tensor("features", row.astype(np.float64))) == (
        "StatusCode.INVALID_ARGUMENT",
        'input "features" has datatype FP64, and the model takes FP32: convert the values and send them as FP32.',
    )
    assert refused(client, "echo_fp32", tensor("features", np.full((1, 3), np.nan, np.float32)))[1].startswith(
        'input "features" has NaN'
    )
    slow = tensor("features", np.array([[2000]], np.float32))
    status, text = refused(client, "slow", slow, headers={"x-request-timeout-ms": "200"})
    assert (status, text) == ("StatusCode.DEADLINE_EXCEEDED", "The request did not finish within its deadline.")
    negative = tensor("features", np.array([[-1]], np.float32))
    assert refused(client, "slow", negative)[0] == "StatusCode.INTERNAL"


def test_calls_are_joined_counted_and_have_the_clients_id(grpc_server: Server, grpc_address: str, client: Any) -> None:
    request = service_pb2.ModelInferRequest(model_name="echo_fp64")
    request.inputs.add(name="features", datatype="FP64", shape=[1, 3]).contents.fp64_contents.extend([1, 2, 3])
    with grpc.insecure_channel(grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer.future(request, metadata=[("x-request-id", f"id-{i}")]) for i in range(20)]
        assert {np.frombuffer(call.result().raw_output_contents[0]).tolist() == [1, 2, 3] for call in calls} == {True}
        assert [dict(call.trailing_metadata())["x-request-id"] for call in calls] == [f"id-{i}" for i in range(20)]
    metrics = httpx.get(grpc_server.url + "/metrics").text
    (line,) = [
        line for line in metrics.splitlines()
        if line.startswith('inference_requests_total{endpoint="v2_grpc",model_name="echo_fp64"}')
    ]  # fmt: skip
    assert float(line.split()[-1]) >= 20


def test_health_checks_and_reflection(grpc_server: Server, grpc_address: str) -> None:
    with grpc.insecure_channel(grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "inference.GRPCInferenceService"):
            assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            stub.Check(health_pb2.HealthCheckRequest(service="other"))
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked)
    assert "inference.GRPCInferenceService" in {item.name for item in answer.list_services_response.service}


def test_watching_tells_each_change(grpc_server: Server, grpc_address: str) -> None:
    with grpc.insecure_channel(grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name, wanted in (("", 1), ("inference.GRPCInferenceService", 1), ("other", 3)):
            watched = stub.Watch(health_pb2.HealthCheckRequest(service=name))
            assert next(watched).status == wanted
            watched.cancel()


def count(server: Server, code: str, model: str) -> float:
    return metric(server, "schwift_responses_total", endpoint="v2_grpc", code=code, model_name=model)


def test_a_call_that_is_cancelled_is_counted_as_a_client_who_left(grpc_server: Server, grpc_address: str) -> None:
    request = service_pb2.ModelInferRequest(model_name="slow")
    given = request.inputs.add(name="features", datatype="FP32", shape=[1, 1])
    given.contents.fp32_contents.append(700)
    left, late = count(grpc_server, "client_left", "slow"), count(grpc_server, "deadline_exceeded", "slow")
    with grpc.insecure_channel(grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(request, metadata=[("x-request-id", "who-left")])
        wait_for(lambda: metric(grpc_server, "schwift_in_flight") == 1)
        call.cancel()
        wait_for(lambda: count(grpc_server, "client_left", "slow") == left + 1)
        wait_for(lambda: "request_id=who-left endpoint=v2_grpc model=slow" in grpc_server.output)
        (line,) = [line for line in grpc_server.output.splitlines() if "request_id=who-left" in line]
        assert " status=499 code=client_left " in line
        # Whose time is over did not leave.
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            stub.ModelInfer(request, timeout=0.3)
        wait_for(lambda: count(grpc_server, "deadline_exceeded", "slow") == late + 1)
    wait_for(lambda: metric(grpc_server, "schwift_in_flight") == 0)
    assert count(grpc_server, "client_left", "slow") == left + 1


def test_tls_holds_for_grpc_too(tmp_path: Path) -> None:
    v2_models.write_echo(tmp_path / "models", "fp32")
    pair, address = self_signed(tmp_path, "server"), f"127.0.0.1:{free_port()}"
    row = tensor("features", np.ones((1, 3), np.float32))
    settings = {"SCHWIFT_TLS_CERT": str(pair.certificate), "SCHWIFT_TLS_KEY": str(pair.key)}
    with serving(tmp_path / "models", tmp_path, SCHWIFT_GRPC_PORT=address.rpartition(":")[2], **settings):
        with triton.InferenceServerClient(address, ssl=True, root_certificates=str(pair.certificate)) as client:
            assert client.infer("echo_fp32", [row]).as_numpy("predictions").tolist() == [[1, 1, 1]]
        for options in ({}, {"ssl": True}):
            # In the clear, and with a certificate that nobody vouches for.
            with triton.InferenceServerClient(address, **options) as client:
                assert refused(client, "echo_fp32", row)[0] == "StatusCode.UNAVAILABLE"


def test_what_is_under_way_when_the_server_ends_is_answered(tmp_path: Path) -> None:
    v2_models.write_slow(tmp_path / "models")
    address = f"127.0.0.1:{free_port()}"
    request = service_pb2.ModelInferRequest(model_name="slow")
    given = request.inputs.add(name="features", datatype="FP32", shape=[1, 1])
    given.contents.fp32_contents.append(2000)
    settings = {"SCHWIFT_GRPC_PORT": address.rpartition(":")[2], "SCHWIFT_DRAIN_SECONDS": "1"}
    with serving(tmp_path / "models", tmp_path, **settings) as server:
        with grpc.insecure_channel(address) as channel:
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == 1
            call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(request)
            wait_for(lambda: metric(server, "schwift_in_flight") == 1)
            server.process.send_signal(signal.SIGTERM)
            # It drains.
            assert next(watched).status == 2
            assert np.frombuffer(call.result(20).raw_output_contents[0], np.float32).tolist() == [2000]
            with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
                next(watched)
        assert server.process.wait(20) == 0, server.output


def test_keys_are_metadata_and_the_workers_share_the_port(tmp_path: Path) -> None:
    v2_models.write_echo(tmp_path / "models", "fp32")
    file = tmp_path / "keys.json"
    key = add_key(file, "one", "--predict", "echo_fp32")
    reader = add_key(file, "two", "--read")
    address = f"127.0.0.1:{free_port()}"
    row = tensor("features", np.ones((1, 3), np.float32))
    settings = {"SCHWIFT_GRPC_PORT": address.rpartition(":")[2], "SCHWIFT_API_KEYS_FILE": str(file)}
    with serving(tmp_path / "models", tmp_path, SCHWIFT_WORKERS="2", **settings):
        with triton.InferenceServerClient(address) as client:
            for shown, wanted in (({}, "UNAUTHENTICATED"), ({"x-api-key": reader}, "PERMISSION_DENIED")):
                assert refused(client, "echo_fp32", row, headers=shown)[0] == f"StatusCode.{wanted}"
            answer = client.infer("echo_fp32", [row], headers={"authorization": f"Bearer {key}"})
            assert answer.as_numpy("predictions").tolist() == [[1, 1, 1]]
            assert client.is_server_ready(headers={"x-api-key": reader})
            with pytest.raises(InferenceServerException) as raised:
                client.is_server_ready()
            assert raised.value.status() == "StatusCode.UNAUTHENTICATED"
        with grpc.insecure_channel(address) as channel:
            assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == 1
            asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
                list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked))
