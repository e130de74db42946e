"""A packed model's content: its own files, and the ensembles by which Triton's clients reach it in its host."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.content import ModelContent, read_files
from converter.repository.plan import BuildOptions, list_preferred, plan_direct
from converter.repository.render import Step, TritonModel, render
from converter.repository.tensors import TensorPlan
from converter.schema import dtypes
from converter.schema.manifest import ALONE_SUFFIX, DIRECT_SUFFIX, ModelEntry
from converter.schema.wire import ALONE_FILE, MEMBER_FILE

# Triton loads no version without a file.
_EMPTY_FILE = "ensemble"
_EMPTY = b"This model is an ensemble of one step, and config.pbtxt has all of it.\n"


def plan_member(source: ModelSource, facts: ModelFacts, options: BuildOptions, host: str) -> ModelContent:
    """Plan a model that is packed into a host, whatever its version; raises as `plan_model` does."""
    content, alone = plan_direct(source, facts, options, ALONE_SUFFIX)
    name = content.entry.name
    has_front = "predict_batched" in content.entry.spec.endpoints
    update = {
        "direct": name + DIRECT_SUFFIX,
        "front": name if has_front else None,
        "alone": alone.name,
        "host": host,
    }
    entry = content.entry.model_copy(update=update)
    member = {"name": name, "pack": host, "backend": alone.backend, "config": _describe(alone)}
    files = {f"{alone.name}/{MEMBER_FILE}": json.dumps(member, sort_keys=True).encode()}
    configs = dict(content.configs)
    for ensemble in _make_ensembles(entry, options):
        configs[ensemble.name] = render(ensemble)
        files[f"{ensemble.name}/{_EMPTY_FILE}"] = _EMPTY
        if ensemble.name == entry.direct or not entry.packs_strings:
            # Triton cannot turn a client's strings into packed ones, so such a model has no front once it is moved out.
            files[f"{ensemble.name}/{ALONE_FILE}"] = _write_alone(ensemble, alone.name)
    return ModelContent(entry, configs, {**content.files, **read_files(files)})


def _make_ensembles(entry: ModelEntry, options: BuildOptions) -> list[TritonModel]:
    """Make the ensembles in the place of `m_direct`, and of `m`."""
    assert entry.host is not None, "the model is not packed"
    step = Step(entry.host, f"{entry.name}.")
    direct = TritonModel(
        name=entry.direct,
        backend="",
        max_batch_size=entry.direct_max_rows,
        inputs=tuple(TensorPlan(packed) for tensor in entry.inputs for packed in tensor.pack()),
        outputs=tuple(TensorPlan(packed) for tensor in entry.outputs for packed in tensor.pack()),
        instances=0,
        parameters={},
        step=step,
    )
    if entry.front is None:
        return [direct]
    front = replace(
        direct,
        name=entry.front,
        max_batch_size=max(list_preferred(entry.spec, options.settings)),
        inputs=tuple(TensorPlan(tensor) for tensor in entry.inputs),
        outputs=tuple(TensorPlan(tensor) for tensor in entry.outputs),
        step=replace(step, model=entry.host.removesuffix(DIRECT_SUFFIX)),
    )
    return [direct, front]


def _describe(model: TritonModel) -> dict[str, Any]:
    """Describe a Triton model to the runtime in its host, as Triton would in `initialize`."""
    return {
        "input": [_describe_tensor(plan) for plan in model.inputs],
        "output": [_describe_tensor(plan) for plan in model.outputs],
        "parameters": {key: {"string_value": value} for key, value in model.parameters.items()},
        "max_batch_size": model.max_batch_size,
        "default_model_filename": model.default_model_filename or "",
    }


def _describe_tensor(plan: TensorPlan) -> dict[str, Any]:
    tensor = plan.tensor
    described = {
        "name": tensor.name,
        "data_type": dtypes.by_name(tensor.dtype).config,
        "dims": list(tensor.dims),
    }
    return {**described, "reshape": {"shape": []}} if plan.scalar else described


def _write_alone(ensemble: TritonModel, alone: str) -> bytes:
    """Write an ensemble that leads to the model alone as JSON, as Triton takes a config with a load."""
    inputs, outputs = (
        {plan.tensor.name: plan.tensor.name for plan in plans} for plans in (ensemble.inputs, ensemble.outputs)
    )
    step = {"model_name": alone, "model_version": -1, "input_map": inputs, "output_map": outputs}
    config = {
        "name": ensemble.name,
        "platform": "ensemble",
        # As in config.pbtxt, the number is put in later.
        "version_policy": {"specific": {"versions": ["0"]}},
        "max_batch_size": ensemble.max_batch_size,
        "input": [_describe_tensor(plan) for plan in ensemble.inputs],
        "output": [_describe_tensor(plan) for plan in ensemble.outputs],
        "ensemble_scheduling": {"step": [step]},
    }
    return json.dumps(config, sort_keys=True).encode()
