"""What clients send and get, as types: for the OpenAPI documents only. The codec checks the real thing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from adapter.codec.codec import Codec
from adapter.error_codes import STATUS_OF
from converter.schema.manifest import ModelEntry

# A model of more numbers a row has no example in the documents.
_MOST_EXAMPLE_VALUES = 1000
# What any address may answer, whichever part of the server refuses the request.
_ANYWHERE = {
    400: "not HTTP as it should be",
    401: "the key is missing, wrong or expired",
    403: "the key does not allow this",
    405: "another method is needed: see Allow",
    408: "the request did not come in time",
    431: "the head of the request is too large",
}


class PredictRequest(BaseModel):
    """Rows for a model to predict."""

    features: list[Any] | dict[str, Any] = Field(
        description="A list of rows; one flat list is one row, and for texts a list of rows. For a model with several "
        "inputs, an object: one list of rows for each input's name. For a model with columns also records, an object "
        "of columns, or one record."
    )


class PredictResponse(BaseModel):
    """A model's predictions, in the order of the request's rows."""

    model: str
    predictions: list[Any] | dict[str, list[Any]] = Field(
        description="A list of rows. For a model with several outputs, an object: one list for each output's name. "
        "With labels=true a row is an object."
    )


class ErrorResponse(BaseModel):
    """An error, whatever its status."""

    detail: str = Field(description="One sentence for a person.")
    code: str = Field(description="The same for every error of its kind.")
    request_id: str = Field(description="The same as in the X-Request-Id header and in the server's log.")


class ColumnInfo(BaseModel):
    """One column of an input; `nullable` is there if it takes null."""

    name: str
    dtype: str
    nullable: bool = False


class TensorInfo(BaseModel):
    """One input or output of a model."""

    name: str
    dtype: str
    shape: list[int] = Field(description="Rows first; -1 is any number.")
    nullable: bool = Field(False, description="Only there if null may stand for a missing value.")
    columns: list[ColumnInfo] | None = Field(None, description="Only there if the input has columns.")


def list_inputs(entry: ModelEntry) -> list[TensorInfo]:
    """Describe the inputs of a model as its clients write them, by the names that they have in Triton or the config."""
    if entry.columns:
        return [
            TensorInfo(
                name=spec.name or "features",
                dtype=spec.dtype,
                shape=list(spec.shape),
                nullable=spec.nullable,
                columns=[ColumnInfo(**column.model_dump()) for column in spec.columns] or None,
            )
            for spec in entry.spec.input
        ]
    return [
        TensorInfo(
            name=tensor.name,
            dtype=spec.dtype,
            shape=[-1] if spec.is_text else [-1, *tensor.dims],
            nullable=spec.nullable,
        )
        for spec, tensor in zip(entry.spec.input, entry.inputs, strict=True)
    ]


class ModelInfo(BaseModel):
    """A model of this server: what it takes, what it answers, and its state."""

    name: str
    version: str
    description: str
    backend: str
    state: str
    endpoints: list[str]
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    max_batch_rows: int
    classes: list[Any] | None = Field(None, description="Only there if the config names them.")
    pack: str | None = Field(None, description="The pack whose process it shares; only there if it shares one.")


class AvailableModels(BaseModel):
    """All models of this server, whatever their state."""

    models: list[ModelInfo]


class ModelFailure(BaseModel):
    """The last request that a model failed, in the worker that answers: with 500 or 502."""

    at: datetime
    code: str
    reason: str = Field(description="The exception's type, or how the answer was wrong; with full details its line.")


class ModelHealth(BaseModel):
    """The state of one model, and how its requests are handled now."""

    state: str
    reason: str | None
    load_seconds: float | None
    regime: str = Field(description="`idle`, `busy` or `rush`: which way /predict_batched takes now.")
    breaker: str = Field(description="`closed`, `open` or `half_open`: whether its requests are let through.")
    last_failure: ModelFailure | None


class Health(BaseModel):
    """Whether the server is ready, and the health of each model."""

    status: str = Field(
        description="`ok`; `unavailable` where a model or Triton is not ready, `draining` before the end."
    )
    triton: str = Field(description="`up` or `down`.")
    breaker: str = Field(description="That of the connections to Triton: `closed`, `open` or `half_open`.")
    models: dict[str, ModelHealth]


def _example(codec: Codec, rows: int) -> dict[str, Any]:
    """Return a model's OpenAPI example, without its value if that would be most of the document."""
    entry = codec.entry
    summary = f"{entry.name}: {entry.spec.description}" if entry.spec.description else entry.name
    values = rows * sum(math.prod(map(abs, tensor.dims)) for tensor in entry.inputs)
    if values > _MOST_EXAMPLE_VALUES:
        shapes = ", ".join(f"{tensor.name} {tensor.dtype}{['rows', *tensor.dims]}" for tensor in entry.inputs)
        return {"summary": summary, "description": f"Too large to be shown: {shapes}".replace("'", "")}
    return {"summary": summary, "value": {"features": codec.request.example_features(rows)}}


def request_body(codecs: Iterable[Codec], rows: int) -> dict[str, Any]:
    """Return the OpenAPI request body of a predict endpoint, with an example of `rows` rows for each model."""
    examples = {codec.entry.name: _example(codec, rows) for codec in codecs}
    return {
        "required": True,
        "content": {"application/json": {"schema": PredictRequest.model_json_schema(), "examples": examples}},
    }


def error_responses() -> dict[int | str, dict[str, Any]]:
    """Return an OpenAPI response for every status of the error table, with its codes, and those of `refusals`."""
    codes: dict[int, list[str]] = {}
    for status, code in STATUS_OF.values():
        codes.setdefault(status, []).append(code)
    return refusals(_ANYWHERE | {status: ", ".join(names) for status, names in codes.items()})


def refusals(texts: Mapping[int, str] = _ANYWHERE) -> dict[int | str, dict[str, Any]]:
    """Return an OpenAPI response for each status, with its text: by default those that any address may answer."""
    return {status: {"model": ErrorResponse, "description": text} for status, text in sorted(texts.items())}
