"""What a model itself answers, asked past Triton, in its own environment: what served answers are compared with."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.authoring.fitted_model import Examined, examine_all
from converter.environments.interpreter import Interpreter, own_interpreter
from converter.errors import ConfigError
from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.tensors import resolve
from converter.schema.model import PICKLES, ModelSpec
from converter.schema.samples.sample_file import SAMPLE_NAME, BadSample, read_sample

_BLOCK = 1024 * 1024
_WHAT = {"onnx": "ONNX Runtime", "torch": "torch.jit"}


@dataclass(frozen=True)
class Original:
    """Rows, and for each the original's values of all outputs, in the config's order, or None if it refuses the row.

    `refused` has the reason, by the number of the row. `batch` and `again` are rows that the original itself answers in
    another way together with others, and when they are asked again. `of_sample` are the first rows, those of a sample;
    `asked` says what was asked, or `problem` why nothing could be.
    """

    rows: tuple[Any, ...] = ()
    answers: tuple[list[Any] | None, ...] = ()
    refused: Mapping[int, str] | None = None
    batch: tuple[int, ...] = ()
    again: tuple[int, ...] = ()
    of_sample: int = 0
    asked: str = ""
    problem: str | None = None


def ask_originals(
    sources: Sequence[ModelSource], facts: Mapping[str, ModelFacts], scratch: Path
) -> dict[str, Original]:
    """Ask each model of its sample's rows, or of made-up ones, and of rows at edges, by name.

    The models were inspected: only what may be loaded is asked. What is loaded of pickles is a copy in `scratch`, which
    nobody else may write. Raises ConfigError for a sample that does not fit, or a file that changed.
    """
    requests: dict[Path, list[tuple[ModelSource, dict[str, Any]]]] = defaultdict(list)
    interpreters = {}
    for source in sources:
        known = facts[source.spec.name]
        interpreter = find_interpreter(source, known)
        interpreters[interpreter.executable] = interpreter
        requests[interpreter.executable].append((source, make_request(source, known, scratch)))
    found: dict[str, Original] = {}
    for executable, asked in requests.items():
        said = examine_all(interpreters[executable], [request for _, request in asked])
        for (source, request), answers in zip(asked, said, strict=True):
            found[source.spec.name] = _read(source, facts[source.spec.name], request, answers)
    return found


def find_interpreter(source: ModelSource, facts: ModelFacts) -> Interpreter:
    """Find the Python that a model runs in; graphs run in schwift's own."""
    environment = facts.environment or source.environment
    return own_interpreter() if source.spec.backend == "onnx" or environment is None else environment.interpreter


def make_request(source: ModelSource, facts: ModelFacts, scratch: Path) -> dict[str, Any]:
    """Write what the probe is to be asked (object_probe/answer_rows.py). Raises ConfigError."""
    spec, args = source.spec, source.spec.model_args
    form = describe_form(source, facts)
    wide = len(spec.output) == 1 and spec.output[0].dtype.startswith("float") and spec.output[0].row_dims != (1,)
    request = {
        "task": "answer", "form": form, "method": args.method, "wide": wide, "rows": _read_rows(source, form),
        "roots": [str(source.folder), str(source.folder.parent.parent)],
    }  # fmt: skip
    if spec.backend == "python":
        return {**request, "kind": "python", "class": args.class_, "kwargs": args.kwargs}
    path = facts.compiled or source.path_of(args.model_file or "")
    if spec.backend in PICKLES:
        return {**request, "kind": "pickle", "path": str(_copy_pickle(source, path, facts.sha256, scratch))}
    return {**request, "kind": "torchscript" if spec.backend == "torch" else "onnx", "path": str(path)}


def describe_form(source: ModelSource, facts: ModelFacts) -> dict[str, Any]:
    """Describe what clients send to a model, and in which dtypes it reaches it."""
    spec = source.spec
    if spec.columns:
        columns = [
            {"name": item.name, "dtype": item.dtype, "wire": item.wire_dtype, "nullable": item.nullable}
            for item in spec.columns
        ]
        return {"form": "columns", "columns": columns, "several": len(spec.input) > 1}
    first = spec.input[0]
    if len(spec.input) == 1 and spec.backend not in ("onnx", "torch"):
        if first.is_text:
            return {"form": "text"}
        if len(first.row_dims) == 1 and first.row_dims[0] > 0:
            return {
                "form": "matrix", "width": first.row_dims[0], "dtype": first.dtype, "wire": first.wire_dtype,
                "nullable": first.nullable,
            }  # fmt: skip
    plans = resolve(source, facts).inputs
    tensors = [
        {
            "name": plan.tensor.name, "dtype": item.dtype, "wire": item.wire_dtype, "shape": list(plan.tensor.dims),
            "scalar": plan.scalar,
        }
        for item, plan in zip(spec.input, plans, strict=True)
    ]  # fmt: skip
    return {"form": "tensors", "tensors": tensors}


def split_rows(form: Mapping[str, Any], features: Any) -> list[Any]:
    """Return the rows of features, whichever way they are written.

    A row is a list of its values, of its tensors, or one text. Raises ValueError, LookupError or TypeError for others.
    """
    if form["form"] == "columns":
        return _split_columns([item["name"] for item in form["columns"]], features)
    if form["form"] == "text":
        return [row if isinstance(row, str) else row[0] for row in features]
    if form["form"] == "matrix":
        return [list(row) for row in features] if isinstance(features[0], list) else [features]
    tensors = form["tensors"]
    if len(tensors) > 1:
        parts = [_box(features[item["name"]]) for item in tensors]
        return [list(row) for row in zip(*parts, strict=True)]
    if not isinstance(features[0], list) and not isinstance(features[0], str):
        return [[features]]
    return [[row] for row in _box(features)]


def _box(rows: Iterable[Any]) -> list[Any]:
    """Give each value of a flat list the axis that a row has."""
    return [row if isinstance(row, list) else [row] for row in rows]


def _split_columns(names: Sequence[str], features: Any) -> list[Any]:
    if isinstance(features, Mapping):
        if set(features) != set(names):
            raise ValueError("other columns than the config has")
        if not isinstance(features[names[0]], list):
            return [[features[name] for name in names]]
        lists = [[value[0] if isinstance(value, list) else value for value in features[name]] for name in names]
        return [list(row) for row in zip(*lists, strict=True)]
    if isinstance(features[0], Mapping):
        return [[row[name] for name in names] for row in features]
    return [list(row) for row in features] if isinstance(features[0], list) else [list(features)]


def _read_rows(source: ModelSource, form: Mapping[str, Any]) -> list[Any] | None:
    """Read the rows of a model's sample, if it has one."""
    if SAMPLE_NAME not in source.files:
        return None
    where = f"{source.folder.parent.name}/{source.folder.name}/{SAMPLE_NAME}"
    try:
        sample = read_sample(source.path_of(SAMPLE_NAME))
        return None if sample is None else split_rows(form, sample.features)
    except BadSample as error:
        raise ConfigError(f"{where}: {error}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{where}: features: these are no rows as the config has them: {error}") from error


def _copy_pickle(source: ModelSource, path: Path, sha256: str | None, scratch: Path) -> Path:
    """Copy a pickle, if it still has the bytes that were looked through. Raises ConfigError."""
    copy = scratch / f"{source.spec.name}{path.suffix}"
    shutil.copyfile(path, copy)
    with copy.open("rb") as file:
        # hashlib.file_digest came with Python 3.11.
        digest = hashlib.sha256()
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise ConfigError(f"{source.config}: {path.name} changed while it was looked into: try again")
    return copy


def _read(source: ModelSource, facts: ModelFacts, request: Mapping[str, Any], said: Examined) -> Original:
    if "missing" in said:
        return Original(problem=f"the model needs {said['missing']}, which is not installed where models run")
    if "error" in said:
        return Original(problem=f"the original could not be asked: {said['error']}")
    served = [plan.tensor.name for plan in resolve(source, facts).outputs]
    answers = [values and _pick(served, said["names"], values) for values in said["answers"]]
    return Original(
        rows=tuple(said["rows"]),
        answers=tuple(answers),
        refused={int(number): reason for number, reason in said["refused"].items()},
        batch=tuple(said["batch"]),
        again=tuple(said["again"]),
        of_sample=min(len(request["rows"] or ()), len(said["rows"])),
        asked=_say_what(source.spec, said),
    )


def _pick(served: Sequence[str], names: Sequence[str | None], values: list[Any]) -> list[Any]:
    """Return the outputs that are served, by their names if the original has them, in the config's order."""
    return [values[names.index(name)] for name in served] if set(served) <= set(names) else values


def _say_what(spec: ModelSpec, said: Examined) -> str:
    """Say what was asked, and of which library."""
    versions = [f"{name} {version}" for name, version in said["versions"].items() if name != "python"]
    if spec.backend == "python":
        what = f"{spec.model_args.class_}"
    else:
        what = _WHAT.get(spec.backend) or f"{said['type']}.{said['method']}"
    return f"{what} ({', '.join(versions)})" if versions else what
