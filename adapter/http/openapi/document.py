"""GET /openapi.json: what holds for every model, made once, and the part of each model, made when it is asked for.

Nothing of it is made before somebody asks. The parts are kept while their models are served; the document is joined of
them each time, so that it has the models that are there now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from adapter.errors import UnknownModel
from adapter.http.openapi import error_answers
from adapter.http.openapi.model_paths import TAG, ModelPart, describe_model
from adapter.http.openapi.operation_names import name_models
from adapter.http.predict import TIMEOUT_HEADER
from adapter.lifecycle.registry import Registry
from adapter.lifecycle.served_model import Model
from adapter.limits.access_policy import FREE, policy
from converter.schema.manifest import ModelEntry
from converter.schema.model import ENDPOINTS
from converter.schema.samples.sample_file import BadSample, Sample, read_sample

# So long are models described without a pause; then requests have their turn.
_SLICE_SECONDS = 0.002
# Models beyond that are described where their names are asked for: no more is read by anybody in one piece.
_MOST_BYTES = 8 * 1024 * 1024
_MOST_SAMPLE_BYTES = 256 * 1024
_PARAMETERS = {
    "RequestTimeout": {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "required": False,
        "schema": {"type": "integer", "minimum": 1},
        "description": "A deadline in milliseconds, if shorter than the server's own.",
    },
    "Labels": {
        "name": "labels",
        "in": "query",
        "required": False,
        "schema": {"type": "boolean"},
        "description": "Whether each row of the answer is an object by class, for a model with `classes`.",
    },
}
_KEYS = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
_TAGS = [
    {"name": TAG, "description": "Each model by its own name, with its own types."},
    {"name": "predict", "description": "Any model, named in the address."},
    {"name": "status", "description": "What is there, and how it is."},
    {"name": "v2", "description": "The V2 protocol (Open Inference Protocol)."},
    {"name": "v1", "description": "KServe's V1 protocol."},
    {"name": "mlflow", "description": "MLflow's protocol, and SageMaker's."},
]
_SCHEMA_AT = "#/components/schemas/{model}"
# What the framework says of any address with parameters, and none answers.
_NOT_OURS = ("HTTPValidationError", "ValidationError")


class OpenApiDocument:
    """Makes the document of one worker.

    `bodies` are the types of requests that addresses refer to; `repository` has the models' samples; `locked` says that
    keys are on; `catch_up` takes over what another worker knows of the models.
    """

    def __init__(
        self,
        app: FastAPI,
        bodies: Sequence[type[BaseModel]],
        registry: Registry,
        repository: Path,
        locked: bool,
        catch_up: Callable[[], None],
    ) -> None:
        self._app = app
        self._bodies = bodies
        self._registry = registry
        self._repository = repository
        self._locked = locked
        self._catch_up = catch_up
        self._frame: dict[str, Any] | None = None
        # By the models' names: of which entry it is, what generated code calls it, and its part.
        self._parts: dict[str, tuple[ModelEntry, str, ModelPart]] = {}
        self._names: dict[str, str] = {}

    async def write(self, asked: frozenset[str] = frozenset()) -> bytes:
        """Return the document with the models of these names, or with all that there is room for.

        Raises: UnknownModel if one is not served.
        """
        self._catch_up()
        if self._frame is None:
            # A tenth of a second, in another thread: requests have their turns meanwhile.
            self._frame = await asyncio.to_thread(self._make_frame)
        # As they are now: meanwhile one may come or go.
        models = dict(self._registry.models)
        if not all(name in models for name in asked):
            raise UnknownModel("No model has this name: see /available_models.")
        parts = await self._describe(models, asked)
        return await asyncio.to_thread(_join, self._frame, parts, len(models) if not asked else 0)

    async def _describe(self, models: Mapping[str, Model], asked: frozenset[str]) -> dict[str, ModelPart]:
        """Return the parts of the models, in the order of their names, of no more bytes than the document may have."""
        self._parts = {name: kept for name, kept in self._parts.items() if name in models}
        names = self._names
        if names.keys() != models.keys():
            names = self._names = await asyncio.to_thread(name_models, list(models))
        parts, room = {}, _MOST_BYTES
        pause = time.monotonic() + _SLICE_SECONDS
        for name, plain in names.items():
            if asked and name not in asked:
                continue
            entry, known_as, part = self._parts.get(name, (None, "", None))
            if part is None or entry is not models[name].entry or known_as != plain:
                part = describe_model(models[name].codec, plain, await self._sample_of(models[name].entry))
                self._parts[name] = models[name].entry, plain, part
            if time.monotonic() > pause:
                await asyncio.sleep(0)
                pause = time.monotonic() + _SLICE_SECONDS
            room -= part.size
            if room < 0 and not asked:
                break
            parts[name] = part
        return parts

    async def _sample_of(self, entry: ModelEntry) -> Sample | None:
        """Return the sample of a model, unless it is large, or cannot be read any more."""
        if entry.sample is None:
            return None
        path = self._repository / entry.files / str(entry.version) / entry.sample

        def read() -> Sample | None:
            return read_sample(path) if path.stat().st_size <= _MOST_SAMPLE_BYTES else None

        try:
            return await asyncio.to_thread(read)
        except (OSError, BadSample):
            return None

    def _make_frame(self) -> dict[str, Any]:
        """Return the document without models."""
        frame = self._app.openapi()
        # What the framework keeps would be there twice.
        self._app.openapi_schema = None
        parts = frame["components"]
        for kind, items in error_answers.components().items():
            parts[kind] = {**parts.get(kind, {}), **items}
        parts["parameters"] = _PARAMETERS
        _, bodies = models_json_schema([(body, "validation") for body in self._bodies], ref_template=_SCHEMA_AT)
        parts["schemas"].update(bodies["$defs"])
        for name in _NOT_OURS:
            parts["schemas"].pop(name, None)
        for path, operations in frame["paths"].items():
            for operation in operations.values():
                operation["responses"] = dict(_answers(operation["responses"]))
                if self._locked and policy(path.encode()) is FREE:
                    operation["security"] = []
        if self._locked:
            parts["securitySchemes"] = _KEYS
            frame["security"] = [{name: []} for name in _KEYS]
        frame["tags"] = _TAGS
        return frame


def openapi_route(document: OpenApiDocument) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers GET /openapi.json; `?model=NAME`, as often as wanted, asks for these models alone."""

    async def answer(request: Request) -> Response:
        # As many as fit an address: each is looked up once.
        asked = frozenset(request.query_params.getlist("model"))
        return Response(await document.write(asked), media_type="application/json")

    return answer


def _answers(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the responses of an operation, each a reference or with the header that every answer has."""
    kept = []
    for status, answer in found.items():
        if "$ref" in answer:
            kept.append((status, {"$ref": answer["$ref"]}))
        elif status != "422" or not any(name in str(answer) for name in _NOT_OURS):
            headers = {"X-Request-Id": error_answers.header("RequestId"), **answer.get("headers", {})}
            kept.append((status, {**answer, "headers": headers}))
    return sorted(kept)


def _join(frame: dict[str, Any], parts: Mapping[str, ModelPart], all_models: int) -> bytes:
    """Return the document in bytes, with these models; `all_models` is how many it would have if there were room."""
    paths = dict(frame["paths"])
    schemas = dict(frame["components"]["schemas"])
    for endpoint in ENDPOINTS:
        generic = f"/{endpoint}/{{model_name}}"
        examples = {name: part.examples[endpoint] for name, part in parts.items() if endpoint in part.examples}
        paths[generic] = {"post": _with_examples(paths[generic]["post"], examples)}
    for part in parts.values():
        paths.update(part.paths)
        schemas.update(part.schemas)
    info = frame["info"]
    if len(parts) < all_models:
        left = f"{len(parts)} of {all_models} models have paths here; `/openapi.json?model=NAME` has those of any."
        info = {**info, "description": f"{info['description']}\n\n{left}"}
    components = {**frame["components"], "schemas": schemas}
    return orjson.dumps({**frame, "info": info, "paths": paths, "components": components})


def _with_examples(operation: dict[str, Any], examples: Mapping[str, orjson.Fragment]) -> dict[str, Any]:
    body = operation["requestBody"]
    content = {**body["content"]["application/json"], "examples": examples}
    names = {name: {"value": name} for name in examples}
    parameters = [
        {**parameter, "examples": names} if parameter.get("in") == "path" else parameter
        for parameter in operation["parameters"]
    ]
    body = {**body, "content": {"application/json": content}}
    return {**operation, "parameters": parameters, "requestBody": body}
