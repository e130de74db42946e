"""spec + facts → the whole repository as (path, content), without touching the disk.

For a source model `m` there are two Triton models (docs/architecture.md says why):
`m`, the front, has the dynamic batcher and the queue policy; `m_direct`, the model, has the backend.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.render import QueuePolicy, TritonModel, render
from converter.repository.runtime_files import entry_point, runtime_files
from converter.repository.tensors import Tensors, resolve
from converter.schema.manifest import DIRECT_SUFFIX, Manifest, ModelEntry, OlderVersion
from converter.schema.settings import Settings
from converter.schema.wire import wake_key_path

# Where a Python model's folder goes inside its version folder: the root of `import models.x.y`.
_SOURCE = "source"


@dataclass(frozen=True)
class BuildOptions:
    """The settings a build depends on; `cores` are those of the machine that builds."""

    max_batch_size: int
    max_concurrent_requests: int
    predict_timeout_seconds: float
    max_ml_workers: int
    cores: int
    debug_model: bool = False
    max_body_bytes: int | None = None
    # Outside of the folder of the models, the one that links may end in.
    model_links: Path | None = None

    @classmethod
    def of(cls, settings: Settings, cores: int) -> BuildOptions:
        return cls(
            settings.max_batch_size,
            settings.max_concurrent_requests,
            settings.predict_timeout_seconds,
            settings.max_ml_workers,
            cores,
            settings.debug_model,
            settings.max_body_bytes,
            settings.model_links,
        )


@dataclass(frozen=True)
class Plan:
    """Every file of a repository, by path relative to its root: bytes, or the file to copy."""

    entries: tuple[ModelEntry, ...]
    files: Mapping[str, bytes | Path]
    older: tuple[OlderVersion, ...] = ()

    def manifest(self, digests: Mapping[str, str], numbers: Mapping[str, int] | None = None) -> Manifest:
        """`numbers` are the last that each model had before."""
        last = dict(numbers or {})
        for entry in (*self.entries, *(item.entry for item in self.older)):
            last[entry.name] = max(entry.version, last.get(entry.name, 0))
        return Manifest(models=self.entries, older=self.older, numbers=last, files=dict(digests))


def join_plans(plans: Iterable[Plan]) -> Plan:
    """One repository of all of them, in the order of their names and numbers."""
    listed = list(plans)
    entries = sorted((entry for plan in listed for entry in plan.entries), key=lambda entry: entry.name)
    older = sorted((item for plan in listed for item in plan.older), key=lambda item: (item.name, item.version))
    files = sorted((name, content) for plan in listed for name, content in plan.files.items())
    return Plan(tuple(entries), dict(files), tuple(older))


def plan_model(source: ModelSource, facts: ModelFacts, options: BuildOptions, wake_key: str, version: int) -> Plan:
    """One model as such a version of it, and no older one.

    `wake_key` is the secret mark of its wake-ups (runtime/wake.py).
    """
    spec = source.spec
    tensors = resolve(source, facts)
    preferred = spec.preferred_batch_size or (options.max_batch_size,)
    direct_rows = max(*preferred, spec.rush_batch_size or 0)
    direct = _direct_model(source, facts, tensors, direct_rows, options, version)
    # By default above what the adapter has in flight, so that Triton never refuses the adapter.
    queue_size = spec.queue.max_size or 2 * options.max_concurrent_requests
    files = _files_of_direct(direct, source, facts)
    front = None
    if "predict_batched" in spec.endpoints:
        front = _front(source, tensors, direct, preferred, queue_size, options)
        files.update(_files_of_front(_without_reshape(front), wake_key))
    entry = ModelEntry(
        spec=spec,
        front=front.name if front else None,
        direct=direct.name,
        version=version,
        inputs=tuple(plan.tensor for plan in tensors.inputs),
        outputs=tuple(plan.tensor for plan in tensors.outputs),
        direct_max_rows=direct_rows,
        queue_size=queue_size,
    )
    return Plan((entry,), files)


def _front(
    source: ModelSource,
    tensors: Tensors,
    direct: TritonModel,
    preferred: Sequence[int],
    queue_size: int,
    options: BuildOptions,
) -> TritonModel:
    spec = source.spec
    timeout_us = round(1e3 * (spec.queue.timeout_ms or options.predict_timeout_seconds * 1e3))
    return TritonModel(
        name=spec.name,
        version=direct.version,
        backend="python",
        max_batch_size=max(preferred),
        inputs=tensors.inputs,
        outputs=tensors.outputs,
        instances=spec.front_instances,
        parameters={
            "direct_model": direct.name,
            "timeout_ms": str(round(1e3 * options.predict_timeout_seconds)),
            "caching": str(int(spec.caching)),
            "debug": str(int(options.debug_model)),
        },
        preferred_batch_size=tuple(preferred),
        delay_us=round(1e3 * spec.max_batch_delay_ms),
        queue=QueuePolicy(timeout_us, queue_size),
        response_cache=spec.caching,
    )


def _direct_model(
    source: ModelSource, facts: ModelFacts, tensors: Tensors, rows: int, options: BuildOptions, version: int
) -> TritonModel:
    spec = source.spec
    name = spec.name + DIRECT_SUFFIX
    if spec.backend == "onnx":
        # Triton's C++ backend reads the threads from here, so they are of the machine that builds.
        threads = max(1, min(options.max_ml_workers, options.cores) // spec.instances)
        return TritonModel(
            name=name,
            version=version,
            backend="onnxruntime",
            max_batch_size=rows,
            inputs=tensors.inputs,
            outputs=tensors.outputs,
            instances=spec.instances,
            parameters={"intra_op_thread_count": str(threads), "inter_op_thread_count": "1"},
            default_model_filename=spec.model_args.model_file,
        )
    folder = f"{_SOURCE}/{facts.package}/{source.folder.name}"
    args = spec.model_args
    return TritonModel(
        name=name,
        version=version,
        backend="python",
        max_batch_size=rows,
        inputs=tensors.inputs,
        outputs=tensors.outputs,
        instances=spec.instances,
        parameters={
            "kind": spec.backend,
            "import_roots": json.dumps([folder, _SOURCE]),
            "model_file": f"{folder}/{args.model_file}" if args.model_file else "",
            "class": args.class_ or "",
            "kwargs": json.dumps(args.kwargs, sort_keys=True),
            "method": args.method or "auto",
            "instances": str(spec.instances),
            "max_workers": str(options.max_ml_workers),
            "debug": str(int(options.debug_model)),
        },
    )


def _without_reshape(front: TritonModel) -> TritonModel:
    """The front speaks the clients' shapes; only the model's own backend knows a graph's [N]."""
    return replace(
        front,
        inputs=tuple(replace(plan, scalar=False) for plan in front.inputs),
        outputs=tuple(replace(plan, scalar=False) for plan in front.outputs),
    )


def _files_of_front(front: TritonModel, wake_key: str) -> dict[str, bytes | Path]:
    version = f"{front.name}/{front.version}"
    return {
        f"{front.name}/config.pbtxt": render(front),
        wake_key_path(front.name, front.version): f"{wake_key}\n".encode(),
        f"{version}/model.py": entry_point("front"),
        **{f"{version}/{name}": path for name, path in runtime_files().items()},
    }


def _files_of_direct(direct: TritonModel, source: ModelSource, facts: ModelFacts) -> dict[str, bytes | Path]:
    """The config, the runtime where the backend is Python, and the whole folder of the model."""
    version = f"{direct.name}/{direct.version}"
    files: dict[str, bytes | Path] = {f"{direct.name}/config.pbtxt": render(direct)}
    if direct.backend == "onnxruntime":
        # External data lies beside the graph, so the folder is the version folder.
        prefix = version
    else:
        prefix = f"{version}/{_SOURCE}/{facts.package}/{source.folder.name}"
        files[f"{version}/model.py"] = entry_point("model")
        files.update({f"{version}/{name}": path for name, path in runtime_files().items()})
    files.update({f"{prefix}/{name}": source.path_of(name) for name in source.files})
    if facts.compiled is not None:
        files[f"{prefix}/{source.spec.model_args.model_file}"] = facts.compiled
    return files
