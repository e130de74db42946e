"""What clients send and get, as types: for the OpenAPI documents only. The codec checks the real thing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from converter.schema.manifest import ModelEntry


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


class Readiness(BaseModel):
    """One word: `ok`, `draining` or `unavailable`. Without a key that reads, no more is told."""

    status: str


class Health(BaseModel):
    """Whether the server is ready, and the health of each model."""

    status: str = Field(
        description="`ok`; `unavailable` where a model or Triton is not ready, `draining` before the end."
    )
    triton: str = Field(description="`up` or `down`.")
    breaker: str = Field(description="That of the connections to Triton: `closed`, `open` or `half_open`.")
    models: dict[str, ModelHealth]
