"""A Triton model → the text of its config.pbtxt, parsed back before it is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from converter.errors import RepositoryError
from converter.repository.runtime_files import TEMPLATE_ROOT
from converter.repository.tensors import TensorPlan
from converter.repository.triton_fields import ExtraFields
from converter.schema import dtypes

# The template's line with the number; no value can look like it, since `quote` leaves no line break in any.
_VERSION = re.compile(r"^(  specific \{ versions: \[ )\d+( \] \})$", re.MULTILINE)
_SOME_VERSION = 1


@dataclass(frozen=True)
class QueuePolicy:
    """Triton's queue policy; `timeout_us` in microseconds, `max_size` in requests."""

    timeout_us: int
    max_size: int


@dataclass(frozen=True)
class Step:
    """The one step of an ensemble: the Triton model that it passes to, whose tensors' names begin with `prefix`."""

    model: str
    prefix: str = ""


@dataclass(frozen=True)
class TritonModel:
    """One Triton model, field by field as config.pbtxt has it; sizes in rows, the delay in microseconds.

    Without a `queue` the dynamic batcher is on and empty, so that requests that queue are joined and none waits; unless
    the model `joins`, it is off, and each request has a call of its own. `priority` is how many levels the queue has,
    and the level of requests that name none. `extra` is what a user adds.
    With a `step` it is an ensemble, which has neither a backend nor instances.
    """

    name: str
    backend: str
    max_batch_size: int
    inputs: tuple[TensorPlan, ...]
    outputs: tuple[TensorPlan, ...]
    instances: int
    parameters: Mapping[str, str]
    default_model_filename: str | None = None
    preferred_batch_size: tuple[int, ...] = ()
    delay_us: int | None = None
    queue: QueuePolicy | None = None
    joins: bool = True
    response_cache: bool = False
    priority: tuple[int, int] | None = None
    extra: ExtraFields = field(default_factory=ExtraFields)
    step: Step | None = None


def quote(value: object) -> str:
    """Write a string literal of protobuf's text format, for config.pbtxt."""
    escaped = "".join(_escape(byte) for byte in str(value).encode())
    return f'"{escaped}"'


def set_version(config: str, version: int) -> str:
    """Put the number of the served version into a rendered config."""
    return _VERSION.sub(rf"\g<1>{version}\g<2>", config)


def render(model: TritonModel) -> str:
    """Render config.pbtxt, for version 0. Raises RepositoryError if the text does not say what the model says."""
    template = _environment().get_template("config.pbtxt.j2")
    text = template.render(model=model, config_type=lambda plan: dtypes.by_name(plan.tensor.dtype).config)
    _check(model, text)
    return text


def _escape(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE_ROOT),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # not HTML: `quoted` escapes for the grammar of config.pbtxt
    )
    environment.filters["quoted"] = quote
    return environment


def _read_step(step: Any) -> tuple[str, dict[str, str], dict[str, str]]:
    return step.model_name, dict(step.input_map), dict(step.output_map)


def _list_steps(model: TritonModel) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    if model.step is None:
        return []
    prefix = model.step.prefix
    inputs, outputs = (
        {prefix + plan.tensor.name: plan.tensor.name for plan in plans} for plans in (model.inputs, model.outputs)
    )
    return [(model.step.model, inputs, outputs)]


def _check(model: TritonModel, text: str) -> None:
    parsed = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(set_version(text, _SOME_VERSION), parsed)
    except text_format.ParseError as error:
        raise RepositoryError(f"{model.name}: the generated config.pbtxt does not parse: {error}") from error
    batching = parsed.dynamic_batching
    tensors = (*parsed.input, *parsed.output)
    plans = (*model.inputs, *model.outputs)
    said, meant = zip(
        (parsed.name, model.name),
        (list(parsed.version_policy.specific.versions), [_SOME_VERSION]),
        (parsed.backend, model.backend),
        (parsed.max_batch_size, model.max_batch_size),
        ([tensor.name for tensor in parsed.input], [plan.tensor.name for plan in model.inputs]),
        ([tensor.name for tensor in parsed.output], [plan.tensor.name for plan in model.outputs]),
        ({key: value.string_value for key, value in parsed.parameters.items()}, dict(model.parameters)),
        (tuple(batching.preferred_batch_size), model.preferred_batch_size),
        (batching.max_queue_delay_microseconds, model.delay_us or 0),
        (batching.default_queue_policy.max_queue_size, model.queue.max_size if model.queue else 0),
        ((batching.priority_levels, batching.default_priority_level), model.priority or (0, 0)),
        ([list(tensor.dims) for tensor in tensors], [list(plan.tensor.dims) for plan in plans]),
        (
            [model_config_pb2.DataType.Name(tensor.data_type) for tensor in tensors],
            [dtypes.by_name(plan.tensor.dtype).config for plan in plans],
        ),
        ([tensor.allow_ragged_batch for tensor in parsed.input], [plan.ragged for plan in model.inputs]),
        ([tensor.optional for tensor in parsed.input], [plan.optional for plan in model.inputs]),
        ([group.count for group in parsed.instance_group], [] if model.step else [model.instances]),
        ([_read_step(step) for step in parsed.ensemble_scheduling.step], _list_steps(model)),
        (model.extra.in_config(parsed), True),
        strict=True,
    )
    if said != meant:
        raise RepositoryError(f"{model.name}: the generated config.pbtxt says {said}, and should say {meant}")
