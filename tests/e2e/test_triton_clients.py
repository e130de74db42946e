"""Triton's clients as its examples use them: sync, async and aio, raw and JSON, compressed, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from tests.suites.target import Target, serve_models, write_models

FIRST = np.arange(16, dtype=np.int32).reshape(1, 16)
SECOND = np.full((1, 16), -1, np.int32)
WANTED = [(FIRST + SECOND).tolist(), (FIRST - SECOND).tolist()]
UNKNOWN = "Request for unknown model"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serve_models(write_models, tmp_path_factory.mktemp("triton_clients")) as running:
        yield running


def pair(kind: Any, first: Any, second: Any, datatype: str) -> list[Any]:
    """Two inputs; over HTTP the first in JSON, the second raw."""
    made = [kind.InferInput(f"INPUT{i}", [1, 16], datatype) for i in (0, 1)]
    raw = [{"binary_data": False}, {"binary_data": True}] if hasattr(kind, "InferAsyncRequest") else [{}, {}]
    return [item.set_data_from_numpy(array, **way) for item, array, way in zip(made, (first, second), raw, strict=True)]


def outputs_of(answer: Any) -> list[Any]:
    return [answer.as_numpy(name).tolist() for name in ("OUTPUT0", "OUTPUT1")]


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_http_with_mixed_tensors_and_codings(target: Target, coding: str | None) -> None:
    http = tritonclient.http
    outputs = [http.InferRequestedOutput("OUTPUT0", binary_data=True), http.InferRequestedOutput("OUTPUT1", False)]
    with http.InferenceServerClient(target.address, concurrency=4) as client:
        for wanted in (outputs, None):
            inputs = pair(http, FIRST, SECOND, "INT32")
            codings = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
            answer = client.infer("simple", inputs, outputs=wanted, query_params={"test_1": 1}, **codings)
            assert outputs_of(answer) == WANTED
            assert outputs_of(client.async_infer("simple", inputs, outputs=wanted).get_result()) == WANTED


def test_http_aio(target: Target) -> None:
    async def ask() -> None:
        async with tritonclient.http.aio.InferenceServerClient(target.address) as client:
            inputs = pair(tritonclient.http, FIRST, SECOND, "INT32")
            for answer in await asyncio.gather(*[client.infer("simple", inputs) for _ in range(8)]):
                assert outputs_of(answer) == WANTED
            with pytest.raises(InferenceServerException, match=f"^.404. {UNKNOWN}"):
                await client.infer("wrong_model_name", inputs)

    asyncio.run(ask())


def test_texts_of_numbers(target: Target) -> None:
    texts = [np.array([[str(value).encode() for value in row[0]]], object) for row in (FIRST, SECOND)]
    with tritonclient.http.InferenceServerClient(target.address) as client:
        answer = client.infer("simple_string", pair(tritonclient.http, texts[0], texts[1], "BYTES"))
        assert answer.as_numpy("OUTPUT0").astype(int).tolist() == (FIRST + SECOND).tolist()
        nulls = np.array([[b"he\0llo"] * 16], object)
        given = tritonclient.http.InferInput("INPUT0", [1, 16], "BYTES").set_data_from_numpy(nulls)
        assert client.infer("simple_identity", [given]).as_numpy("OUTPUT0").tolist() == nulls.tolist()


def test_grpc(target: Target) -> None:
    with tritonclient.grpc.InferenceServerClient(target.grpc) as client:
        assert outputs_of(client.infer("simple", pair(tritonclient.grpc, FIRST, SECOND, "INT32"))) == WANTED
        with pytest.raises(InferenceServerException, match=UNKNOWN):
            client.infer("wrong_model_name", pair(tritonclient.grpc, FIRST, SECOND, "INT32"))
        with pytest.raises(InferenceServerException, match=UNKNOWN):
            client.get_model_metadata("wrong_model_name")


def test_all_that_its_health_example_asks_but_for_the_servers_name(target: Target) -> None:
    with tritonclient.http.InferenceServerClient(target.address) as client:
        asked = {"test_1": 1, "test_2": 2}
        assert client.is_server_live(query_params=asked) and client.is_server_ready()
        assert client.is_model_ready("simple")
        assert client.get_model_metadata("simple", query_params=asked)["name"] == "simple"
        with pytest.raises(InferenceServerException, match=UNKNOWN):
            client.get_model_metadata("wrong_model_name")


def test_each_stage_of_the_statistics_has_one_count(target: Target) -> None:
    """As perf_analyzer wants it, which reads them before and after."""
    with tritonclient.http.InferenceServerClient(target.address) as client:
        assert outputs_of(client.infer("simple", pair(tritonclient.http, FIRST, SECOND, "INT32"))) == WANTED
        stats = client.get_inference_statistics("simple")["model_stats"][0]["inference_stats"]
    counts = {stats[name]["count"] for name in ("success", "queue", "compute_input", "compute_infer", "compute_output")}
    assert len(counts) == 1 and counts.pop() > 0
