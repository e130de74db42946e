"""`triton:` of a model's config → fields of the direct model's config.pbtxt, held against Triton's protobuf."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tritonclient.grpc import model_config_pb2

from converter.environments import engine_wheel
from converter.environments.engine import find_engine
from converter.errors import ArtifactError
from converter.inspect.discover import ModelSource
from converter.schema.model import nearest
from converter.schema.settings import Settings

_ON_CPU = "models run on the CPU: remove it"
# Fields that the build writes, or that have no place here, each with what to do.
OWNED: Mapping[str, str] = {
    "name": "write model.name",
    "platform": "write model.backend",
    "backend": "write model.backend",
    "runtime": "write model.backend",
    "version_policy": "write model.versions",
    "max_batch_size": "write model.max_batch_size",
    "input": "write model.input",
    "output": "write model.output",
    "batch_input": "write model.input",
    "batch_output": "write model.output",
    "dynamic_batching": "write model.preferred_batch_size, max_batch_delay_ms, queue or priority",
    "sequence_batching": "rows do not depend on each other here, so there are no sequences: remove it",
    "ensemble_scheduling": "a model is one backend's here: serve each step as a model of its own",
    "model_transaction_policy": "a request has one answer here: remove it",
    "response_cache": "write model.caching",
    "default_model_filename": "write model.model_args.model_file",
    "cc_model_filenames": "write model.model_args.model_file",
    "instance_group.name": "write model.name",
    "instance_group.count": "write model.instances",
    "instance_group.kind": _ON_CPU,
    "instance_group.gpus": _ON_CPU,
    "instance_group.secondary_devices": _ON_CPU,
    "instance_group.passive": "no request would reach it: remove it",
    "instance_group.rate_limiter": "Triton runs without a rate limiter, so it has no effect: remove it",
}
_THREADS = "write model.instances, or MAX_ML_WORKERS"
# Parameters that the build writes, or that would undo what it does.
OWNED_PARAMETERS: Mapping[str, str] = {
    **dict.fromkeys(("class", "kwargs", "method", "model_file"), "write model.model_args"),
    **dict.fromkeys(("kind", "made_for", "import_roots", "model_sha256"), "give yours another name"),
    **dict.fromkeys(("strings", "columns", "several_inputs"), "give yours another name"),
    **dict.fromkeys(("instances", "max_workers", "intra_op_thread_count", "inter_op_thread_count"), _THREADS),
    "debug": "write DEBUG_MODEL",
    "EXECUTION_ENV_PATH": "write model.requirements",
}
# Fields that the protobuf of a new tritonclient has and an older Triton, which loads no model that has one, does not.
NEWER: Mapping[str, tuple[int, int]] = {"model_metrics": (2, 52)}
_STEP = re.compile(r"Failed to parse (\w+) field: ")


@dataclass(frozen=True)
class ExtraFields:
    """What a user adds to a Triton model: parameters, and the rest as protobuf's text: of its group, of its config."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    config: str = ""

    def in_config(self, parsed: Any) -> bool:
        """Tell whether a parsed config has all of it."""
        config = text_format.Parse(self.config, model_config_pb2.ModelConfig())
        group = text_format.Parse(self.group, model_config_pb2.ModelInstanceGroup())
        wanted = [*((parsed, item) for item in config.ListFields())]
        wanted += [(parsed.instance_group[0], item) for item in group.ListFields()]
        return all(getattr(owner, item.name) == value for owner, (item, value) in wanted)


class _BadField(ValueError):
    """A problem with `triton:`, at a key below it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"model.triton{'.' if path else ''}{path}: {message}")


def read_extra_fields(source: ModelSource, settings: Settings) -> ExtraFields:
    """Read what a config has in `triton:`. Raises ArtifactError with the key and the remedy."""
    fields = dict(source.spec.triton)
    try:
        _check_fields(fields, model_config_pb2.ModelConfig.DESCRIPTOR, "", settings)
        parameters = _read_parameters(fields.pop("parameters", {}))
        groups = fields.pop("instance_group", None) or [{}]
        if len(groups) > 1:
            raise _BadField("instance_group", "a model has one group here: write one, and model.instances")
        return ExtraFields(
            parameters,
            _to_text(groups[0], model_config_pb2.ModelInstanceGroup(), "instance_group."),
            _to_text(fields, model_config_pb2.ModelConfig(), ""),
        )
    except _BadField as error:
        raise ArtifactError(f"{source.config}: {error}") from error


def _check_fields(fields: Any, message: Descriptor, path: str, settings: Settings) -> None:
    """Check the names in a mapping and below it, and the form of what is not a plain number."""
    known = {item.name: item for item in message.fields}
    if not isinstance(fields, dict):
        raise _BadField(path, f"write a mapping of {', '.join(known)}")
    for name, value in fields.items():
        here = f"{path}.{name}" if path else name
        plain = re.sub(r"\[\d+\]", "", here)
        if name not in known:
            client = f"tritonclient {metadata.version('tritonclient')}"
            raise _BadField(here, f"{client} knows no such field{nearest(name, known)}: it has {', '.join(known)}")
        if plain in OWNED:
            raise _BadField(here, f"schwift sets this: {OWNED[plain]}")
        _check_age(here, plain, settings)
        if not (path == "" and name == "parameters"):
            _check_value(value, known[name], here, settings)


def _check_value(value: Any, item: FieldDescriptor, path: str, settings: Settings) -> None:
    kind = item.message_type
    if kind is not None and kind.GetOptions().map_entry:
        if not isinstance(value, dict):
            raise _BadField(path, "write a mapping")
        for key, each in value.items():
            _check_one(each, kind.fields_by_name["value"], f"{path}.{key}", settings)
    elif item.is_repeated:
        if not isinstance(value, list):
            raise _BadField(path, "write a list")
        for at, each in enumerate(value):
            _check_one(each, item, f"{path}[{at}]", settings)
    else:
        _check_one(value, item, path, settings)


def _check_one(value: Any, item: FieldDescriptor, path: str, settings: Settings) -> None:
    if item.message_type is not None:
        _check_fields(value, item.message_type, path, settings)
    elif item.type == FieldDescriptor.TYPE_STRING and not isinstance(value, str):
        raise _BadField(path, f"{value!r} is not text: write it in quotes")
    elif item.enum_type is not None and value not in item.enum_type.values_by_name:
        names = list(item.enum_type.values_by_name)
        raise _BadField(path, f"{value!r} is not one of {', '.join(names)}{nearest(str(value), names)}")


def _check_age(path: str, plain: str, settings: Settings) -> None:
    if plain not in NEWER:
        return
    engine = find_engine(settings)
    version = engine.version if engine else engine_wheel.VERSION
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < NEWER[plain]:
        needed = ".".join(map(str, NEWER[plain]))
        raise _BadField(path, f"Triton has this field since {needed}, and the one here is {version}: remove it")


def _read_parameters(parameters: Any) -> dict[str, str]:
    """Take `key: value` as well as `key: {string_value: value}`, which protobuf has."""
    if not isinstance(parameters, dict):
        raise _BadField("parameters", "write a mapping")
    texts = {}
    for key, value in parameters.items():
        if key in OWNED_PARAMETERS:
            raise _BadField(f"parameters.{key}", f"schwift sets this: {OWNED_PARAMETERS[key]}")
        text = value["string_value"] if isinstance(value, dict) and list(value) == ["string_value"] else value
        if not isinstance(text, str):
            raise _BadField(f"parameters.{key}", f"{text!r} is not text: write it in quotes")
        texts[key] = text
    return texts


def _to_text(fields: dict[str, Any], message: Any, path: str) -> str:
    try:
        json_format.ParseDict(fields, message)
    except json_format.ParseError as error:
        said = str(error)
        steps = ".".join(_STEP.findall(said))
        raise _BadField(path + steps, _STEP.sub("", said).partition(" at ModelConfig")[0].rstrip(".")) from error
    text: str = text_format.MessageToString(message)
    return text
