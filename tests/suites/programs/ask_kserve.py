"""KServe's own clients against a server: `ask_kserve.py http://host:port host:grpc_port`; a line for each part."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.array([[1.5, -2.0, 3.0], [4.0, 5.0, 6.25]], np.float32)


class Parts:
    def __init__(self, url: str, address: str) -> None:
        self.url = url
        self.v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
        self.v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
        self.grpc = InferenceGRPCClient(address)

    async def v1_live(self) -> None:
        assert await self.v1.is_server_live(self.url) is True

    async def v1_ready(self) -> None:
        assert await self.v1.is_model_ready(self.url, "double") is True

    async def v1_infer(self) -> None:
        answer = await self.v1.infer(self.url, {"instances": ROWS.tolist()}, model_name="double")
        assert answer == {"predictions": (ROWS * 2).tolist()}, answer

    async def v1_error(self) -> None:
        try:
            await self.v1.infer(self.url, {"instances": [[1.0]]}, model_name="double")
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 422 and "instances[0]" in str(error), error
        else:
            raise AssertionError("a row that is too short was taken")

    async def v2_live(self) -> None:
        assert await self.v2.is_server_live(self.url) is True

    async def v2_ready(self) -> None:
        assert await self.v2.is_server_ready(self.url) is True
        assert await self.v2.is_model_ready(self.url, "double") is True
        assert await self.v2.is_model_ready(self.url, "nobody") is False

    async def v2_infer_json(self) -> None:
        await self._infer_v2(binary=False)

    async def v2_infer_raw(self) -> None:
        await self._infer_v2(binary=True)

    async def v2_infer_texts(self) -> None:
        given = InferInput("INPUT0", [1, 16], "BYTES")
        texts = np.array([[f"größe {i}".encode() for i in range(16)]], dtype=object)
        given.set_data_from_numpy(texts, binary_data=True)
        answer = await self.v2.infer(self.url, InferRequest("simple_identity", [given]), "simple_identity")
        assert [as_text(value) for value in answer.outputs[0].as_numpy().ravel()] == [f"größe {i}" for i in range(16)]

    async def v2_error(self) -> None:
        try:
            await self.v2.infer(self.url, rows_request(False, "FP64"), model_name="double")
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 400 and "FP64" in str(error), error
        else:
            raise AssertionError("another datatype was taken")

    async def grpc_live_and_ready(self) -> None:
        assert await self.grpc.is_server_live() and await self.grpc.is_server_ready()
        assert await self.grpc.is_model_ready("double")

    async def grpc_infer_typed(self) -> None:
        given = InferInput("features", [2, 3], "FP32", data=ROWS.ravel().tolist())
        answer = await self.grpc.infer(InferRequest("double", [given], request_id="typed"))
        check_answer(answer, "typed")

    async def grpc_infer_raw(self) -> None:
        check_answer(await self.grpc.infer(rows_request(True)), "mine")

    async def grpc_error(self) -> None:
        try:
            await self.grpc.infer(InferRequest("nobody", rows_request(True).inputs))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a model that is not there answered")

    async def _infer_v2(self, binary: bool) -> None:
        request = rows_request(binary)
        request.request_outputs = [RequestedOutput("predictions", parameters={"binary_data": binary})]
        check_answer(await self.v2.infer(self.url, request, model_name="double"), "mine")


def rows_request(binary: bool, datatype: str = "FP32") -> InferRequest:
    given = InferInput("features", [2, 3], datatype)
    given.set_data_from_numpy(ROWS.astype(np.float64 if datatype == "FP64" else np.float32), binary_data=binary)
    return InferRequest("double", [given], request_id="mine")


def check_answer(answer: object, identity: str) -> None:
    (output,) = answer.outputs  # type: ignore[attr-defined]
    assert (answer.id, answer.model_name) == (identity, "double"), answer  # type: ignore[attr-defined]
    assert (output.name, output.datatype, list(output.shape)) == ("predictions", "FP32", [2, 3])
    np.testing.assert_array_equal(output.as_numpy(), ROWS * 2)


def as_text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def main(url: str, address: str) -> None:
    parts = Parts(url, address)
    made: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        (name.replace("_", " "), getattr(parts, name)) for name in vars(Parts) if not name.startswith("_")
    ]
    for name, ask in made:
        try:
            await ask()
        except Exception as error:
            print(f"FAIL {name}: {type(error).__name__} {' '.join(str(error).split())}")
        else:
            print(f"PASS {name}")


asyncio.run(main(sys.argv[1], sys.argv[2]))
