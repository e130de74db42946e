"""source → facts: what only the model's own file knows, found without running its code here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter

from converter.environments.model_environment import ModelEnvironment
from converter.errors import ArtifactError, ConfigError, MissingLibrary
from converter.inspect import external_data, worker_process
from converter.inspect.discover import ModelSource
from converter.inspect.model_environments import ModelEnvironments
from converter.inspect.model_folder import tell_kind
from converter.inspect.pickle_trust import check_trust, find_own_code
from converter.inspect.pickle_versions import list_releases
from converter.inspect.python_source import find_package
from converter.inspect.requirements import check_backend, check_columns, check_pickle, read_pickle
from converter.inspect.torch_file import compile_eager
from converter.progress import show_progress
from converter.schema.model import PICKLES, nearest
from converter.trust.pickle_reader import Contents


@dataclass(frozen=True)
class GraphTensor:
    """A graph's input or output: its ONNX type, such as `tensor(float)`, and its shape, None for a free axis."""

    name: str
    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What the plan needs beyond the spec.

    `compiled` is the TorchScript file made of an eager module, which takes the model file's place.
    `package` is the folder's name above the model's own in `class`, as in `models.x.model:Class`. `contents` are what a
    pickle names, until its environment is found; `environment` is that, or the one of the config. `made_for` has the
    release of each package that a pickle is right with alone, `sha256` is that of the bytes that were read of
    it. `own_code` says what the model runs that is not of a known library, if anything. `notes` are for the user.
    """

    inputs: tuple[GraphTensor, ...] = ()
    outputs: tuple[GraphTensor, ...] = ()
    compiled: Path | None = None
    package: str = "models"
    contents: Contents | None = None
    environment: ModelEnvironment | None = None
    made_for: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None
    own_code: str | None = None
    notes: tuple[str, ...] = ()


# How the file begins that Git LFS has in the place of another until it is pulled.
_POINTER = b"version https://git-lfs.github.com/spec/"
# What ONNX Runtime says of a StringNormalizer.
_LOCALE = re.compile(r"Failed to construct locale with name:([\w.@-]+)")

# Between a worker and the build they are JSON.
FACTS = TypeAdapter(ModelFacts)


def inspect_all(
    sources: tuple[ModelSource, ...],
    scratch: Path,
    jobs: int,
    environments: ModelEnvironments,
    left_out: list[str] | None = None,
) -> dict[str, ModelFacts]:
    """Find the facts of each model, by name, and where it runs. Raises ArtifactError with the problems of all.

    With `left_out`, a model whose library is not installed has no facts, and its problem goes there.
    """
    facts: dict[str, ModelFacts] = {}
    problems: list[str] = []
    for name, found in inspect_each(sources, scratch, jobs, environments).items():
        if isinstance(found, ModelFacts):
            facts[name] = found
        elif isinstance(found, MissingLibrary) and left_out is not None:
            left_out.extend(found.problems)
        else:
            problems.extend(found.problems)
    if problems:
        raise ArtifactError(problems)
    return facts


def inspect_each(
    sources: Sequence[ModelSource], scratch: Path, jobs: int, environments: ModelEnvironments
) -> dict[str, ModelFacts | ConfigError]:
    """Find the facts of each model, by name, and where it runs; or what is wrong with it."""
    # A process starts as long as a few models take.
    lanes = max(1, min(jobs, -(-len(sources) // 2)))
    shares = [sources[i::lanes] for i in range(lanes)]
    with show_progress("looking into models", len(sources)) as told, ThreadPoolExecutor(max_workers=lanes) as pool:
        answers = list(pool.map(lambda share: worker_process.ask_all(share, scratch, told), shares))
    said = {
        source.spec.name: (source, answer)
        for share, known in zip(shares, answers, strict=True)
        for source, answer in zip(share, known, strict=True)
    }
    found: dict[str, ModelFacts | ConfigError] = {}
    for source in sources:
        name = source.spec.name
        try:
            if source.spec.backend not in PICKLES:
                # Said in the place of what its file is: without its library nobody knows.
                check_backend(source)
            found[name] = settle(source, _read_facts(*said[name]), environments)
        except ConfigError as error:
            found[name] = error
    return found


def settle(source: ModelSource, facts: ModelFacts, environments: ModelEnvironments) -> ModelFacts:
    """Add where a model runs to its facts. Raises ArtifactError if nothing here has what its pickle needs."""
    if facts.contents is None:
        check_columns(source)
        return replace(facts, environment=source.environment)
    environment, notes = environments.settle(source, facts.contents)
    source = replace(source, environment=environment)
    check_backend(source)
    check_pickle(source, facts.contents)
    check_columns(source)
    made_for = {} if source.spec.accept_skew else list_releases(facts.contents)
    return replace(
        facts,
        contents=None,
        environment=environment,
        made_for=made_for,
        sha256=facts.contents.sha256,
        notes=(*facts.notes, *notes),
    )


def _read_facts(source: ModelSource, answer: worker_process.Answer) -> ModelFacts:
    """Read what a worker found. Raises ArtifactError with what became of it otherwise."""
    where = f"{source.config}: {source.spec.model_args.model_file or 'the model'}"
    if "facts" in answer:
        return FACTS.validate_python(answer["facts"])
    if "missing" in answer:
        raise MissingLibrary(answer["missing"])
    if "problems" in answer:
        raise ArtifactError(answer["problems"])
    if "memory" in answer:
        raise ArtifactError(
            f"{where} takes over {answer['memory']} MiB of memory to read, which is the bound for files of this size: "
            "save the model without what it does not need"
        )
    if "seconds" in answer:
        raise ArtifactError(
            f"{where} took over {answer['seconds']} s to read, which is the bound for files of this size: save the "
            "model uncompressed, and without what it does not need"
        )
    raise ArtifactError(
        f"{where} is damaged: reading it ended the process with code {answer['ended']}: write the model's file again"
    )


def inspect(source: ModelSource, scratch: Path) -> ModelFacts:
    """Find the facts of one model; what is compiled is written to `scratch`. Raises ArtifactError with the remedy."""
    if source.spec.backend not in PICKLES:
        check_backend(source)
    if source.spec.backend == "python":
        return ModelFacts(package=find_package(source), own_code="backend python is code of its own")
    name = source.spec.model_args.model_file or ""
    if name not in source.files:
        hint = nearest(name, source.files)
        raise ArtifactError(f"{source.config}: model.model_args.model_file: {name} is not beside this file{hint}")
    path = source.path_of(name)
    if path.stat().st_size == 0:
        raise ArtifactError(f"{source.config}: {name} is empty: write the model's file again")
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ArtifactError(f"{source.config}: {name} is a Git LFS pointer, not the file: run `git lfs pull`")
    if source.spec.backend == "onnx":
        _check_external_data(source, path)
        return _read_graph(source, path)
    if source.spec.backend == "torch":
        compiled = compile_eager(source, path, scratch)
        return ModelFacts(compiled=compiled, package=source.models_name, own_code="backend torch is code of its own")
    contents = read_pickle(source, path)
    return ModelFacts(
        package=source.models_name,
        contents=contents,
        own_code=find_own_code(source, contents),
        notes=check_trust(source, contents),
    )


def _read_graph(source: ModelSource, path: Path) -> ModelFacts:
    """Read names, types and shapes of a graph's inputs and outputs; a free axis is None."""
    try:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        # Shapes are wanted, not speed.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).replace(str(path), path.name).strip() or type(error).__name__
        name = source.spec.model_args.model_file
        if locale := _LOCALE.search(reason):
            raise ArtifactError(
                f"{source.config}: {name} needs the locale {locale[1]}, which is not here: install it, or export the "
                'model with the locale "C" (skl2onnx: options={TfidfVectorizer: {"locale": "C"}})'
            ) from error
        kind = tell_kind(path)
        if kind and "onnx" not in kind:
            raise ArtifactError(f"{source.config}: {name} is {kind}") from error
        raise ArtifactError(
            f"{source.config}: {name}: ONNX Runtime cannot load it: {reason.splitlines()[-1]}"
        ) from error
    inputs, outputs = (
        tuple(
            GraphTensor(item.name, item.type, tuple(n if isinstance(n, int) else None for n in item.shape or []))
            for item in items
        )
        for items in (session.get_inputs(), session.get_outputs())
    )
    return ModelFacts(inputs, outputs, package=source.models_name)


def _check_external_data(source: ModelSource, path: Path) -> None:
    """Raise ArtifactError if a graph takes weights from elsewhere than a file of the model's folder."""
    name = source.spec.model_args.model_file or ""
    try:
        locations = external_data.find_locations(path)
    except external_data.DamagedGraph as error:
        raise ArtifactError(f"{source.config}: {name} is damaged: {error}: write the model's file again") from error
    for location in sorted(locations):
        beside = PurePosixPath(name).parent / location
        plain = location and not PurePosixPath(location).is_absolute() and ".." not in PurePosixPath(location).parts
        if not plain or "\0" in location or beside.as_posix() not in source.files:
            raise ArtifactError(
                f"{source.config}: {name} takes weights from {location[:200]!r}, which is no file of the model's "
                "folder: save the model with its data beside it, under a plain name, or without external data"
            )
