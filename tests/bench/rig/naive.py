"""The yardstick: the adapter that one writes first. FastAPI, pydantic, and one tritonclient call for each request.

Run as `python -m tests.bench.rig.naive PORT TRITON_GRPC`; it calls `<model>_direct`, as our adapter does.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import tritonclient.grpc.aio as triton
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    features: list[list[float]]


class Response(BaseModel):
    model: str
    predictions: list[list[float]]


def create_app(triton_grpc: str) -> FastAPI:
    clients: list[triton.InferenceServerClient] = []
    names: dict[str, tuple[str, str]] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        clients.append(triton.InferenceServerClient(triton_grpc))
        yield
        await clients[0].close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/predict/{model}")
    async def predict(model: str, request: Request) -> Response:
        client = clients[0]
        if model not in names:
            metadata = await client.get_model_metadata(f"{model}_direct")
            names[model] = (metadata.inputs[0].name, metadata.outputs[0].name)
        given, wanted = names[model]
        array = np.asarray(request.features, dtype=np.float32)
        tensor = triton.InferInput(given, list(array.shape), "FP32")
        tensor.set_data_from_numpy(array)
        answer = await client.infer(f"{model}_direct", [tensor])
        return Response(model=model, predictions=answer.as_numpy(wanted).tolist())

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
