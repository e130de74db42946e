"""What V2's clients send and get, as types: for the OpenAPI document only. The reader checks the real thing."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from converter.schema import dtypes

Datatype = Annotated[str, Field(json_schema_extra={"enum": [item.triton for item in dtypes.DTYPES]})]
Parameters = dict[str, Any]
_DATA = "Flat and row-major, or nested as the shape says; not there if raw values stand behind the JSON."


def _optional(description: str | None = None) -> Any:
    """Describe a member that may be left out, and is never null."""
    return Field(None, description=description, json_schema_extra=lambda schema: schema.pop("default", None))


class V2Server(BaseModel):
    """The server's metadata."""

    name: str
    version: str
    extensions: list[str]


class V2Live(BaseModel):
    """Whether the server lives."""

    live: bool


class V2Ready(BaseModel):
    """Whether every model answers."""

    ready: bool


class V2ModelReady(BaseModel):
    """Whether one model answers."""

    name: str
    ready: bool


class V2TensorInfo(BaseModel):
    """An input or output of a model; -1 in its shape is any size."""

    name: str
    datatype: Datatype
    shape: list[int]


class V2Model(BaseModel):
    """A model's metadata."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[V2TensorInfo]
    outputs: list[V2TensorInfo]


class V2TensorConfig(BaseModel):
    """An input or output, as Triton's model configuration has it."""

    name: str
    data_type: str
    dims: list[int]


class V2Config(BaseModel):
    """As much of Triton's model configuration as holds for a client."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[V2TensorConfig]
    output: list[V2TensorConfig]


class V2Duration(BaseModel):
    """How often, and how many nanoseconds in all."""

    count: int
    ns: int


class V2Durations(BaseModel):
    """The times of a model's requests; those that are not measured are 0."""

    success: V2Duration
    fail: V2Duration
    queue: V2Duration
    compute_input: V2Duration
    compute_infer: V2Duration
    compute_output: V2Duration


class V2ModelStatistics(BaseModel):
    """Counts and times of one model."""

    name: str
    version: str
    inference_count: int
    execution_count: int
    inference_stats: V2Durations


class V2Statistics(BaseModel):
    """Counts and times of models."""

    model_stats: list[V2ModelStatistics]


class V2IndexEntry(BaseModel):
    """A model with its state, `READY` or `UNAVAILABLE`, and the reason."""

    name: str
    version: str
    state: str
    reason: str


class V2RequestInput(BaseModel):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: Datatype
    data: list[Any] | SkipJsonSchema[None] = _optional(_DATA)
    parameters: Parameters | SkipJsonSchema[None] = _optional()


class V2RequestOutput(BaseModel):
    """One output that a request asks for."""

    name: str
    parameters: Parameters | SkipJsonSchema[None] = _optional()


class V2InferRequest(BaseModel):
    """An inference request."""

    inputs: list[V2RequestInput] = Field(min_length=1)
    id: str | SkipJsonSchema[None] = _optional("Comes back with the answer.")
    parameters: Parameters | SkipJsonSchema[None] = _optional()
    outputs: list[V2RequestOutput] | SkipJsonSchema[None] = _optional("All of them, if this is not there.")


class V2ResponseOutput(BaseModel):
    """One output of an answer."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[Any] | SkipJsonSchema[None] = _optional(_DATA)
    parameters: Parameters | SkipJsonSchema[None] = _optional()


class V2InferResponse(BaseModel):
    """An answer to an inference request."""

    model_name: str
    model_version: str
    outputs: list[V2ResponseOutput]
    id: str | SkipJsonSchema[None] = _optional()
