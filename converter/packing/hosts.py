"""The hosts of a repository, made of the models that are in them: whatever the build does to these, hosts follow."""

from __future__ import annotations

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from converter.errors import ConfigError
from converter.repository.built import BuiltRepository
from converter.repository.content import ModelContent, Plan, PlannedFile, digest, join_plans, read_files
from converter.repository.plan import BuildOptions, list_preferred, make_policy
from converter.repository.render import TritonModel, render
from converter.repository.runtime_files import find_entry_point, list_runtime_files
from converter.repository.tensors import TensorPlan
from converter.repository.version_history import VersionHistory, assign_version
from converter.schema.manifest import DIRECT_SUFFIX, PACK_SUFFIX, ModelEntry, Tensor
from converter.schema.model import ModelArgs, ModelSpec, TensorSpec
from converter.schema.wire import (
    ANSWER_TENSOR,
    CALL_TENSOR,
    ENVIRONMENT_FILE,
    HOST_KEY_FILE,
    MEMBERS_FILE,
    OWN_ENVIRONMENT,
    WAKE_KEY_FILE,
)

_KEY_BYTES = 16
# Its calls are of any size each, and are joined all the same.
_CALL = TensorPlan(Tensor(name=CALL_TENSOR, dtype="uint8", dims=(-1,)), ragged=True, optional=True)
_ANSWER = TensorPlan(Tensor(name=ANSWER_TENSOR, dtype="uint8", dims=(-1,)))
# Triton takes a model for a changed one if anything in its folder has changed, and loads it with the next ensemble; so
# Python is to write nothing there.
_NO_BYTECODE = b"A file, so that Python writes no bytecode into this folder.\n"
_Value = TypeVar("_Value")


def plan_hosts(plans: Iterable[Plan], options: BuildOptions, built: BuiltRepository) -> Plan:
    """Plan the hosts of these models, each under its number. Raises ConfigError if one has the name of a model."""
    models = join_plans(plans)
    members: defaultdict[str, list[ModelEntry]] = defaultdict(list)
    for entry in models.entries:
        if entry.host is not None:
            members[entry.host].append(entry)
    made = []
    for host, entries in sorted(members.items()):
        history = VersionHistory(host.removesuffix(DIRECT_SUFFIX), built)
        content = _plan_host(host, entries, _find_environment(entries, models.files, options), history, options)
        plan, _ = assign_version(history, content)
        entry = plan.entries[0]
        listed = read_files(
            {f"{name}/{entry.version}/{MEMBERS_FILE}": _list_members(entries) for name in entry.folders}
        )
        made.append(Plan((), {**plan.files, **listed}, hosts=(entry,)))
    hosts = join_plans(made)
    _check_names(models.entries, hosts.hosts)
    return hosts


def _plan_host(
    host: str,
    members: Sequence[ModelEntry],
    environment: PlannedFile | None,
    history: VersionHistory,
    options: BuildOptions,
) -> ModelContent:
    """Plan a host and its front, whatever their version."""
    spec = _describe_host(host, members, options)
    rows = max(entry.direct_max_rows for entry in members)
    queue_size = _most_common(entry.queue_size for entry in members)
    direct = _make_host(host, spec, members, rows, options)
    host_key = (history.read_host_key() or secrets.token_hex(_KEY_BYTES)).encode()
    files = _list_host_files(host, "host", {HOST_KEY_FILE: host_key})
    configs = {host: render(direct)}
    front = None
    if "predict_batched" in spec.endpoints:
        front = _make_host_front(direct, spec, members, queue_size, options)
        configs[front.name] = render(front)
        wake_key = history.read_wake_key() or secrets.token_hex(_KEY_BYTES)
        keys = {HOST_KEY_FILE: host_key, WAKE_KEY_FILE: f"{wake_key}\n".encode()}
        files |= _list_host_files(front.name, "host_front", keys)
    entry = ModelEntry(
        spec=spec,
        front=front.name if front else None,
        direct=host,
        version=0,
        inputs=(_CALL.tensor,),
        outputs=(_ANSWER.tensor,),
        direct_max_rows=rows,
        queue_size=queue_size,
    )
    own = {} if environment is None else {f"{host}/{ENVIRONMENT_FILE}": environment}
    return ModelContent(entry, configs, {**read_files(files), **own})


def _list_host_files(folder: str, kind: str, keys: Mapping[str, bytes]) -> dict[str, bytes | Path]:
    files: dict[str, bytes | Path] = {"model.py": find_entry_point(kind), **keys, **list_runtime_files()}
    files["__pycache__"] = _NO_BYTECODE
    return {f"{folder}/{name}": content for name, content in files.items()}


def _describe_host(host: str, members: Sequence[ModelEntry], options: BuildOptions) -> ModelSpec:
    """Describe a host as if it were a model, with the rhythm of its members."""
    specs = [entry.spec for entry in members]
    return ModelSpec(
        name=host.removesuffix(DIRECT_SUFFIX),
        description="The process of a pack.",
        backend="python",
        model_args=ModelArgs(class_="schwift_runtime.host:TritonPythonModel"),
        input=(TensorSpec(name=CALL_TENSOR, shape=(-1, -1), dtype="uint8"),),
        output=(TensorSpec(name=ANSWER_TENSOR, shape=(-1, -1), dtype="uint8"),),
        preferred_batch_size=_most_common(list_preferred(spec, options.settings) for spec in specs),
        max_batch_delay_ms=_most_common(spec.max_batch_delay_ms for spec in specs),
        max_batch_size=max(entry.direct_max_rows for entry in members),
        queue=_most_common(spec.queue for spec in specs),
        endpoints=_most_common(spec.endpoints for spec in specs),
        instances=_most_common(spec.instances for spec in specs),
        warmup=False,
        versions=1,
    )


def _make_host(
    host: str, spec: ModelSpec, members: Sequence[ModelEntry], rows: int, options: BuildOptions
) -> TritonModel:
    return TritonModel(
        name=host,
        backend="python",
        max_batch_size=rows,
        inputs=(_CALL, *(packed for plan in _list_inputs(members) for packed in _pack(plan))),
        outputs=(_ANSWER, *(packed for plan in _list_outputs(members) for packed in _pack(plan))),
        instances=spec.instances,
        # Joined with the call of a slow model, one of a quick model would wait for it though another process is free.
        joins=spec.instances == 1,
        parameters={
            "debug": str(int(options.settings.debug_model)),
            "instances": str(spec.instances),
            "max_workers": str(options.settings.max_ml_workers),
            "memory_mb": str(options.settings.pack_memory_mb or ""),
        },
    )


def _make_host_front(
    direct: TritonModel, spec: ModelSpec, members: Sequence[ModelEntry], queue_size: int, options: BuildOptions
) -> TritonModel:
    nullable = sorted(f"{entry.name}.{name}" for entry in members for name in _list_nullable(entry))
    return TritonModel(
        name=spec.name,
        backend="python",
        max_batch_size=max(spec.preferred_batch_size),
        inputs=(_CALL, *_list_inputs(members)),
        outputs=(_ANSWER, *_list_outputs(members)),
        instances=spec.front_instances,
        parameters={
            "direct_model": direct.name,
            "timeout_ms": str(round(1e3 * options.settings.predict_timeout_seconds)),
            "caching": "0",
            "debug": str(int(options.settings.debug_model)),
            **({"nullable": json.dumps(nullable)} if nullable else {}),
        },
        preferred_batch_size=spec.preferred_batch_size,
        delay_us=round(1e3 * spec.max_batch_delay_ms),
        queue=make_policy(spec, queue_size, options.settings),
    )


def _list_inputs(members: Sequence[ModelEntry]) -> list[TensorPlan]:
    """List the inputs of all members as clients send them; a request has those of one."""
    return [
        TensorPlan(tensor.model_copy(update={"name": f"{entry.name}.{tensor.name}"}), optional=True)
        for entry in members
        for tensor in entry.inputs
    ]


def _list_outputs(members: Sequence[ModelEntry]) -> list[TensorPlan]:
    return [
        TensorPlan(tensor.model_copy(update={"name": f"{entry.name}.{tensor.name}"}))
        for entry in members
        for tensor in entry.outputs
    ]


def _pack(plan: TensorPlan) -> Iterator[TensorPlan]:
    return (replace(packed, optional=plan.optional) for packed in plan.pack())


def _list_nullable(entry: ModelEntry) -> list[str]:
    """List the inputs of strings that may be missing."""
    if entry.columns:
        found = any(column.nullable and column.wire_dtype == "string" for column in entry.columns)
        return [tensor.name for tensor in entry.inputs if tensor.dtype == "string" and found]
    return [
        tensor.name
        for tensor, said in zip(entry.inputs, entry.spec.input, strict=True)
        if said.nullable and tensor.dtype == "string"
    ]


def _list_members(members: Sequence[ModelEntry]) -> bytes:
    """List the members for their host: whose a tensor is, and where the model's files are now."""
    return json.dumps({entry.name: _describe_member(entry) for entry in members}, sort_keys=True).encode()


def _describe_member(entry: ModelEntry) -> dict[str, Any]:
    def describe(tensors: Sequence[Tensor]) -> list[Any]:
        return [packed.model_dump(mode="json") for tensor in tensors for packed in tensor.pack()]

    return {
        "files": entry.files,
        "version": entry.version,
        "inputs": describe(entry.inputs),
        "outputs": describe(entry.outputs),
        "strings": [tensor.name for tensor in (*entry.inputs, *entry.outputs) if tensor.dtype == "string"],
        "nullable": _list_nullable(entry),
        "max_rows": entry.direct_max_rows,
    }


def _find_environment(
    members: Sequence[ModelEntry], files: Mapping[str, PlannedFile], options: BuildOptions
) -> PlannedFile | None:
    """Find the file that says which environment is the members'; None if it is the one that serves all models."""
    if options.settings.model_env is not None and any(entry.spec.backend == "onnx" for entry in members):
        own = f"{OWN_ENVIRONMENT}\n".encode()
        return PlannedFile(own, digest(own))
    return next(
        (
            files[path]
            for entry in members
            if entry.spec.backend != "onnx" and (path := f"{entry.files}/{entry.version}/{ENVIRONMENT_FILE}") in files
        ),
        None,
    )


def _check_names(models: Iterable[ModelEntry], hosts: Iterable[ModelEntry]) -> None:
    """Raise ConfigError if two models, or a model and a pack, would be in one folder."""
    owned = [(f"model {entry.name}", entry) for entry in models]
    owned += [(f"pack {host.name.removesuffix(PACK_SUFFIX)}", host) for host in hosts]
    owners: dict[str, str] = {}
    problems = []
    for what, entry in owned:
        for folder in entry.folders:
            if (owner := owners.setdefault(folder, what)) != what:
                problems.append(f"{owner} and {what} would both be {folder} inside Triton: rename one of them")
    if problems:
        raise ConfigError(problems)


def _most_common(values: Iterable[_Value]) -> _Value:
    return Counter(values).most_common(1)[0][0]
