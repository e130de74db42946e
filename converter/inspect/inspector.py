"""source → facts: what only the model's own file knows, found without running its code here."""

from __future__ import annotations

import ast
import json
import os
import pickletools
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from converter.errors import ArtifactError, MissingLibrary
from converter.inspect import bounded, external_data, pickle_reader
from converter.inspect.discover import ModelSource
from converter.inspect.requirements import check_backend, check_imports, check_pickle
from converter.schema.model import nearest

# Opens a model's file as its library does, and answers what it found.
Probe = Callable[..., dict[str, Any]]

_PROBE_SECONDS = 120
# What a state dict's pickle refers to; a whole module refers to its own class too.
_STATE_DICT_MODULES = ("collections", "torch._utils", "torch", "torch.storage", "torch.serialization")


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
    `package` is the folder's name above the model's own in `class`, as in `models.x.model:Class`. `notes` are for the
    user.
    """

    inputs: tuple[GraphTensor, ...] = ()
    outputs: tuple[GraphTensor, ...] = ()
    compiled: Path | None = None
    package: str = "models"
    notes: tuple[str, ...] = ()


def inspect_all(
    sources: tuple[ModelSource, ...], scratch: Path, jobs: int, left_out: list[str] | None = None
) -> dict[str, ModelFacts]:
    """The facts of each model, by name. ArtifactError lists the problems of all of them.

    With `left_out`, a model whose library is not installed has no facts, and its problem goes there.
    """
    # A process starts as long as a few models take.
    lanes = max(1, min(jobs, -(-len(sources) // 2)))
    shares = [sources[i::lanes] for i in range(lanes)]
    with ThreadPoolExecutor(max_workers=lanes) as pool:
        answers = list(pool.map(lambda share: bounded.ask_all(share, scratch), shares))
    said = {
        source.spec.name: (source, answer)
        for share, known in zip(shares, answers, strict=True)
        for source, answer in zip(share, known, strict=True)
    }
    facts: dict[str, ModelFacts] = {}
    problems: list[str] = []
    for source in sources:
        name = source.spec.name
        try:
            # Said in the place of what its file is: without its library nobody knows.
            check_backend(source)
            facts[name] = _facts(*said[name])
        except MissingLibrary as error:
            (problems if left_out is None else left_out).extend(error.problems)
        except ArtifactError as error:
            problems.extend(error.problems)
    if problems:
        raise ArtifactError(problems)
    return facts


def _facts(source: ModelSource, answer: bounded.Answer) -> ModelFacts:
    """What a bounded process found, or ArtifactError with what became of it."""
    where = f"{source.config}: {source.spec.model_args.model_file or 'the model'}"
    if "facts" in answer:
        found = answer["facts"]
        return ModelFacts(
            inputs=tuple(_tensor(item) for item in found["inputs"]),
            outputs=tuple(_tensor(item) for item in found["outputs"]),
            compiled=Path(found["compiled"]) if found["compiled"] else None,
            package=found["package"],
            notes=tuple(found["notes"]),
        )
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


def inspect(source: ModelSource, scratch: Path, probe: Probe | None = None) -> ModelFacts:
    """The facts of one model; what is compiled is written below `scratch`. `probe` opens it as its library does."""
    probe = probe or probe_apart
    check_backend(source)
    if source.spec.backend == "python":
        return ModelFacts(package=_class_package(source))
    name = source.spec.model_args.model_file or ""
    if name not in source.files:
        hint = nearest(name, source.files)
        raise ArtifactError(f"{source.config}: model.model_args.model_file: {name} is not beside this file{hint}")
    path = source.path_of(name)
    if path.stat().st_size == 0:
        raise ArtifactError(f"{source.config}: {name} is empty: write the model's file again")
    if source.spec.backend == "onnx":
        _check_external_data(source, path)
        found = probe(source, "onnx", str(path))
        return ModelFacts(
            inputs=tuple(_tensor(item) for item in found["inputs"]),
            outputs=tuple(_tensor(item) for item in found["outputs"]),
            package=source.models_name,
        )
    if source.spec.backend == "torch":
        return ModelFacts(compiled=_torch(source, path, scratch, probe), package=source.models_name)
    return ModelFacts(package=source.models_name, notes=check_pickle(source, path))


def _tensor(item: dict[str, Any]) -> GraphTensor:
    return GraphTensor(item["name"], item["type"], tuple(item["shape"]))


def probe_apart(source: ModelSource, *arguments: str) -> dict[str, Any]:
    """Have a process of its own open the model's file. ArtifactError where it cannot."""
    name = source.spec.model_args.model_file
    try:
        done = subprocess.run(
            [sys.executable, "-m", "converter.inspect.probe", *arguments],
            # Modules in the current folder must not stand in for ours.
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
            # TorchScript writes a module's constants in the order of a set.
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"{source.config}: {name} took over {_PROBE_SECONDS} s to read") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise ArtifactError(
            f"{source.config}: {name} is damaged: reading it ended the process with code {done.returncode}: "
            "write the model's file again"
        ) from error
    return checked(source, answer)


def checked(source: ModelSource, answer: dict[str, Any]) -> dict[str, Any]:
    """A probe's answer. ArtifactError where it is an error."""
    if "error" in answer:
        raise ArtifactError(f"{source.config}: {source.spec.model_args.model_file}: {answer['error']}")
    return answer


def _check_external_data(source: ModelSource, path: Path) -> None:
    """ArtifactError where a graph takes weights from elsewhere than a file of the model's folder."""
    name = source.spec.model_args.model_file or ""
    try:
        locations = external_data.locations(path)
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


def _torch(source: ModelSource, path: Path, scratch: Path, probe: Probe) -> Path | None:
    """None for TorchScript; the compiled file for an eager module, where it is trusted."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            _check_inflated(source, path, sum(item.file_size for item in archive.infolist()))
            if (broken := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{broken} does not fit its checksum")
            if any(name.endswith("/constants.pkl") for name in names):
                return None
            pickles = [archive.read(name) for name in names if name.endswith("/data.pkl")]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        # The latter are what a damaged header looks like: another compression, a password, a place outside the file.
        raise ArtifactError(
            f"{source.config}: {path.name} is damaged, or older than torch 1.6: save it again with "
            "torch.jit.script(model).save()"
        ) from error
    if not pickles:
        raise ArtifactError(f"{source.config}: {path.name} is not a torch file: save it with torch.jit.save()")
    if all(module in _STATE_DICT_MODULES for data in pickles for module in _modules(data)):
        raise ArtifactError(
            f"{source.config}: {path.name} is a state dict, which has weights and no model: load it into the "
            "model and save that with torch.jit.script(model).save(...)"
        )
    if not source.spec.trusted:
        raise ArtifactError(
            f"{source.config}: {path.name} is a pickled nn.Module, and unpickling runs code: write trusted: true "
            "if you made it, or save it with torch.jit.script(model).save(...)"
        )
    target = scratch / f"{source.spec.name}.pt"
    examples = [
        {"shape": [2, *(abs(size) for size in tensor.row_dims)], "dtype": tensor.dtype} for tensor in source.spec.input
    ]
    probe(source, "torch", str(path), str(target.resolve()), str(source.folder.resolve()), json.dumps(examples))
    # It is the model's file in another form: who may not read that may not read this.
    target.chmod(stat.S_IMODE(target.stat().st_mode) & path.stat().st_mode | stat.S_IRUSR)
    return target


def _check_inflated(source: ModelSource, path: Path, size: int) -> None:
    most = pickle_reader.most_inflated(path.stat().st_size)
    if size > most:
        raise ArtifactError(
            f"{source.config}: {path.name} inflates to {size} bytes, and {most} are the most for a file of its size: "
            "save the model uncompressed"
        )


def _modules(data: bytes) -> set[str]:
    """The modules a pickle names, read from its opcodes: nothing runs."""
    modules: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "GLOBAL":
                modules.add(str(argument).split(" ")[0])
            elif opcode.name == "STACK_GLOBAL":
                modules.add(strings[-2] if len(strings) > 1 else "")
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, IndexError, EOFError):
        modules.add("")
    return modules


def _class_package(source: ModelSource) -> str:
    """Find the module of `class` below the model's folder, and the class in it, without importing it.

    `models.<folder>.module:Class` counts from the folder that holds models/, `module:Class` from the model's
    own. Returns the first word of the former; the folder is copied under that name.
    """
    dotted, _, class_name = (source.spec.model_args.class_ or "").partition(":")
    parts = dotted.split(".")
    package = source.models_name
    relative = _module_file(source, parts)
    if relative is None and len(parts) > 1 and parts[1] == source.folder.name:
        package = parts[0]
        relative = _module_file(source, parts[2:])
    where = f"{source.config}: model.model_args.class"
    if relative is None:
        above = f"{source.models_name}.{source.folder.name}"
        importable = all(part.isidentifier() for part in above.split("."))
        remedy = f"{above}.<module>:{class_name} or <module>:{class_name}" if importable else f"<module>:{class_name}"
        raise ArtifactError(f"{where}: no module {dotted} here: write {remedy}, for a file in this folder")
    try:
        tree = ast.parse((source.folder / relative).read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 1)
        raise ArtifactError(f"{source.folder.name}/{relative}:{line}: not valid Python: {error}") from error
    names = _top_level_names(tree)
    if names is not None and class_name not in names:
        raise ArtifactError(f"{where}: {relative} has no class {class_name}{nearest(class_name, names)}")
    check_imports(source, relative, package)
    return package


def _module_file(source: ModelSource, parts: list[str]) -> str | None:
    names = ["/".join([*parts, "__init__.py"])]
    if parts:
        names.insert(0, "/".join(parts) + ".py")
    return next((name for name in names if name in source.files), None)


def _top_level_names(tree: ast.Module) -> set[str] | None:
    """What a module defines or imports at its top; None where `import *` makes that unknown."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if "*" in names else names
