"""spec + facts → one model's content: the front `m` and the direct model `m_direct` (docs/architecture.md says why)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from converter.errors import ArtifactError, RepositoryError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.content import ModelContent, read_files
from converter.repository.render import QueuePolicy, TritonModel, render
from converter.repository.runtime_files import find_entry_point, list_runtime_files
from converter.repository.tensors import Tensors, resolve
from converter.repository.triton_fields import read_extra_fields
from converter.schema.fields.scheduling import AUTO_INSTANCES, MOST_INSTANCES
from converter.schema.manifest import DIRECT_SUFFIX, ModelEntry
from converter.schema.model import ModelSpec
from converter.schema.samples.sample_file import SAMPLE_NAME, BadSample, read_sample
from converter.schema.settings import Settings
from converter.schema.wire import ENVIRONMENT_FILE, OWN_ENVIRONMENT, WAKE_KEY_FILE

# The place of a Python model's folder inside its version folder: the root of `import models.x.y`.
_SOURCE = "source"


@dataclass(frozen=True)
class BuildOptions:
    """What a build depends on; `cores` are those of the machine that builds.

    With `recall`, a model's folder that is as it was is not looked into again.
    """

    settings: Settings
    cores: int
    recall: bool = True


def plan_model(source: ModelSource, facts: ModelFacts, options: BuildOptions, wake_key: str) -> ModelContent:
    """Plan one model, whatever its version; `wake_key` marks its wake-ups (runtime/wake.py).

    Raises ArtifactError, and RepositoryError if a pickle is another than was looked through.
    """
    content, _ = plan_direct(source, facts, options)
    spec = content.entry.spec
    if "predict_batched" not in spec.endpoints:
        return content
    front = _make_front(replace(source, spec=spec), resolve(source, facts), content.entry, options)
    return ModelContent(
        content.entry.model_copy(update={"front": front.name}),
        {**content.configs, front.name: render(front)},
        {**content.files, **read_files(_list_front_files(front, wake_key))},
    )


def plan_direct(
    source: ModelSource, facts: ModelFacts, options: BuildOptions, suffix: str = DIRECT_SUFFIX
) -> tuple[ModelContent, TritonModel]:
    """Plan a model without a front, as Triton model of its name with `suffix`; raises as `plan_model` does."""
    spec = source.spec.model_copy(update={"instances": decide_instances(source.spec, options)})
    source = replace(source, spec=spec)
    tensors = resolve(source, facts)
    direct_rows = spec.max_batch_size or max(*list_preferred(spec, options.settings), spec.rush_batch_size or 0)
    direct = replace(_make_direct(source, facts, tensors, direct_rows, options), name=spec.name + suffix)
    # By default above what the adapter has in flight, so that Triton never refuses the adapter.
    queue_size = spec.queue.max_size or 2 * options.settings.max_concurrent_requests
    entry = ModelEntry(
        spec=spec,
        front=None,
        direct=direct.name,
        version=0,
        inputs=tuple(plan.tensor for plan in tensors.inputs),
        outputs=tuple(plan.tensor for plan in tensors.outputs),
        direct_max_rows=direct_rows,
        queue_size=queue_size,
        packs_strings=tensors.has_strings,
        columns=spec.columns,
        sample=_place_sample(source, direct, facts),
    )
    files = _list_direct_files(direct, source, facts)
    content = ModelContent(entry, {direct.name: render(direct)}, read_files(files))
    if facts.sha256 and content.files[f"{direct.name}/{direct.parameters['model_file']}"].digest != facts.sha256:
        raise RepositoryError(f"{source.config}: {spec.model_args.model_file} changed while it was read: build again")
    return content, direct


def list_preferred(spec: ModelSpec, settings: Settings) -> tuple[int, ...]:
    """List the sizes of batches, in rows, that Triton's batcher prefers."""
    usual = settings.max_batch_size
    return spec.preferred_batch_size or (min(usual, spec.max_batch_size or usual),)


def make_policy(spec: ModelSpec, queue_size: int, settings: Settings) -> QueuePolicy:
    """Make the policy of a front's queue."""
    return QueuePolicy(round(1e3 * (spec.queue.timeout_ms or settings.predict_timeout_seconds * 1e3)), queue_size)


def decide_instances(spec: ModelSpec, options: BuildOptions) -> int:
    """Return how many instances a model has: `auto` is one a core of this machine, up to MAX_ML_WORKERS."""
    if spec.instances != AUTO_INSTANCES:
        return spec.instances
    return max(1, min(options.cores, options.settings.max_ml_workers, MOST_INSTANCES))


def _place_sample(source: ModelSource, direct: TritonModel, facts: ModelFacts) -> str | None:
    """Return where the model's sample will be in its version folder; None if it has none. Raises ArtifactError."""
    if SAMPLE_NAME not in source.files:
        return None
    place = f"{source.folder.name}/{SAMPLE_NAME}"
    try:
        sample = read_sample(source.path_of(SAMPLE_NAME))
    except OSError as error:
        raise ArtifactError(f"{place}: it cannot be read: {error.strerror}") from error
    except BadSample as error:
        raise ArtifactError(f"{place}: {error}") from error
    return None if sample is None else _folder_of_files(source, direct, facts) + SAMPLE_NAME


def _folder_of_files(source: ModelSource, direct: TritonModel, facts: ModelFacts) -> str:
    """Return where the model's folder is in its version folder, with a slash; "" if it is that folder."""
    # External data lies beside a graph, so there the folder is the version folder.
    return "" if direct.backend == "onnxruntime" else f"{_SOURCE}/{facts.package}/{source.folder.name}/"


def _make_front(source: ModelSource, tensors: Tensors, entry: ModelEntry, options: BuildOptions) -> TritonModel:
    spec = source.spec
    preferred = list_preferred(spec, options.settings)
    return TritonModel(
        name=spec.name,
        backend="python",
        max_batch_size=max(preferred),
        # The front speaks the clients' shapes: only the model's own backend knows a graph's [N].
        inputs=tuple(replace(plan, scalar=False) for plan in tensors.inputs),
        outputs=tuple(replace(plan, scalar=False) for plan in tensors.outputs),
        instances=spec.front_instances,
        parameters={
            "direct_model": spec.name + DIRECT_SUFFIX,
            "timeout_ms": str(round(1e3 * options.settings.predict_timeout_seconds)),
            "caching": str(int(spec.caching)),
            "debug": str(int(options.settings.debug_model)),
            **_name_nullable(tensors),
        },
        preferred_batch_size=preferred,
        delay_us=round(1e3 * spec.max_batch_delay_ms),
        queue=make_policy(spec, entry.queue_size, options.settings),
        response_cache=spec.caching,
        priority=(spec.priority.levels, spec.priority.default_level) if spec.priority else None,
    )


def _make_direct(
    source: ModelSource, facts: ModelFacts, tensors: Tensors, rows: int, options: BuildOptions
) -> TritonModel:
    spec, args = source.spec, source.spec.model_args
    folder = f"{_SOURCE}/{facts.package}/{source.folder.name}"
    packed = tensors.pack()
    extra = read_extra_fields(source, options.settings)
    direct = TritonModel(
        name=spec.name + DIRECT_SUFFIX,
        backend="python",
        max_batch_size=rows,
        inputs=packed.inputs,
        outputs=packed.outputs,
        instances=spec.instances,
        extra=extra,
        parameters={
            **extra.parameters,
            "kind": spec.backend,
            "import_roots": json.dumps([folder, _SOURCE]),
            "model_file": f"{folder}/{args.model_file}" if args.model_file else "",
            "class": args.class_ or "",
            "kwargs": json.dumps(args.kwargs, sort_keys=True),
            "method": args.method or "auto",
            "instances": str(spec.instances),
            "max_workers": str(options.settings.max_ml_workers),
            "debug": str(int(options.settings.debug_model)),
            **_name_strings(tensors),
            **_name_columns(spec, tensors),
            **({"made_for": json.dumps(dict(facts.made_for))} if facts.made_for else {}),
            **({"model_sha256": facts.sha256} if facts.sha256 else {}),
        },
    )
    if spec.backend != "onnx" or tensors.has_strings:
        return direct
    # Triton's C++ backend reads the threads from here, so they are of the machine that builds.
    threads = max(1, min(options.settings.max_ml_workers, options.cores) // spec.instances)
    return replace(
        direct,
        backend="onnxruntime",
        parameters={**extra.parameters, "intra_op_thread_count": str(threads), "inter_op_thread_count": "1"},
        default_model_filename=args.model_file,
    )


def _name_strings(tensors: Tensors) -> dict[str, str]:
    """Tell the runtime which of its tensors are packed strings; those of a user may be called alike."""
    names = {plan.tensor.name for plan in (*tensors.inputs, *tensors.outputs) if plan.tensor.dtype == "string"}
    return {"strings": json.dumps(sorted(names))} if names else {}


def _name_columns(spec: ModelSpec, tensors: Tensors) -> dict[str, str]:
    """Tell the runtime the columns in order, each beside its tensor; and whether they are several inputs."""
    if not spec.columns:
        return {}
    names = {plan.tensor.dtype: plan.tensor.name for plan in tensors.inputs}
    columns = [[column.name, names[column.wire_dtype]] for column in spec.columns]
    return {"columns": json.dumps(columns), "several_inputs": str(int(len(spec.input) > 1))}


def _name_nullable(tensors: Tensors) -> dict[str, str]:
    """Tell the front which strings may be missing: those of its clients have a mark then (wire.NULL_TEXT)."""
    names = sorted(plan.tensor.name for plan in tensors.inputs if plan.nullable)
    return {"nullable": json.dumps(names)} if names else {}


def _list_front_files(front: TritonModel, wake_key: str) -> dict[str, bytes | Path]:
    files: dict[str, bytes | Path] = {WAKE_KEY_FILE: f"{wake_key}\n".encode(), "model.py": find_entry_point("front")}
    return {f"{front.name}/{name}": content for name, content in (files | list_runtime_files()).items()}


def _list_direct_files(direct: TritonModel, source: ModelSource, facts: ModelFacts) -> dict[str, bytes | Path]:
    """List the runtime if the backend is Python, and the whole folder of the model."""
    files: dict[str, bytes | Path] = {}
    prefix = _folder_of_files(source, direct, facts)
    if direct.backend != "onnxruntime":
        files = {"model.py": find_entry_point("model"), **list_runtime_files()}
        if source.spec.backend == "onnx":
            # As other graphs do, it runs in the ONNX Runtime that read it.
            files[ENVIRONMENT_FILE] = f"{OWN_ENVIRONMENT}\n".encode()
        elif facts.environment is not None and facts.environment.key is not None:
            files[ENVIRONMENT_FILE] = facts.environment.to_file()
    files |= {f"{prefix}{name}": source.path_of(name) for name in source.files}
    if facts.compiled is not None:
        files[f"{prefix}{source.spec.model_args.model_file}"] = facts.compiled
    return {f"{direct.name}/{name}": content for name, content in files.items()}
