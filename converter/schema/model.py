"""`model_config.yaml` as types: frozen, with the keys of the first SchwiftServe, and no key that is not known."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from converter.schema import dtypes
from converter.schema.requirement import check_requirement

Backend = Literal["sklearn", "joblib", "onnx", "python", "torch"]
Endpoint = Literal["predict", "predict_batched"]
Method = Literal["predict", "predict_proba", "decision_function", "transform"]

# The Pythons that Triton has a stub for, and we take.
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# What the build writes beside a model, of the packages that an environment was made of.
LOCK_NAME = "requirements.lock"
# With the name that it has while it is written; neither is a file of the model.
LOCK_FILES = (LOCK_NAME, f"{LOCK_NAME}.new")

BACKENDS: tuple[Backend, ...] = get_args(Backend)
# Those whose file is a pickle, which says what it was made with.
PICKLES: tuple[Backend, ...] = ("sklearn", "joblib")
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)

# A model's name becomes a folder, a URL segment and a metric label.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "sklearn": (".joblib", ".pkl"),
    "joblib": (".joblib", ".pkl"),
    "onnx": (".onnx",),
    "torch": (".pt", ".pth"),
}
# Triton keeps a dimension as int64; what fits a batch is far below.
_MOST_ROWS = 1_000_000
# numpy's own bound, the axis of the rows included.
_MOST_AXES = 32
# The bound of one row, all inputs or all outputs together: as JSON it is more than the largest body that is usual, and
# made-up rows are asked of every model.
MOST_ROW_BYTES = 64 * 1024 * 1024


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean x?)`, or nothing if no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


class MisplacedError(ValueError):
    """A problem that a whole model shows, at the key below it that the user has to change."""

    def __init__(self, place: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())


def nullable_kinds(backend: Backend) -> tuple[dtypes.JsonKind, ...]:
    """Return the kinds of values that may be missing in a model's inputs: a graph has NaN for floats, and no more."""
    return ("number",) if backend in ("onnx", "torch") else ("number", "integer", "string")


def _one_of(value: Any, known: Iterable[str]) -> Any:
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}{nearest(str(value), known)}")
    return value


def _known_dtype(value: Any) -> str:
    _one_of(value, dtypes.NAMES)
    return dtypes.by_name(value).name


def _whole_numbers(value: Any) -> Any:
    for size in value if isinstance(value, list | tuple) else ():
        if isinstance(size, bool | float):
            raise ValueError(f"{size!r} is not a size: an axis is a whole number, -1 for any")
    if isinstance(value, list | tuple) and len(value) > _MOST_AXES:
        raise ValueError(f"{len(value)} axes: a tensor has at most {_MOST_AXES}")
    return value


def _batch_first(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value or value[0] != -1:
        wanted = [-1, *(value[1:] if len(value) > 1 else value)]
        raise ValueError(
            f"the first axis is the batch and must be -1: write {wanted}, "
            "and make sure that the model takes any number of rows"
        )
    for size in value[1:]:
        if size != -1 and size < 1:
            raise ValueError(f"{size} is not a size: an axis is -1 (any) or at least 1")
    return value


class TensorSpec(_Strict):
    """One input or output. `shape` counts rows first: [-1, 4] is any number of rows of 4 values."""

    name: str | None = None
    type: Literal["array"] = "array"
    shape: Annotated[tuple[int, ...], BeforeValidator(_whole_numbers), AfterValidator(_batch_first)]
    dtype: Annotated[str, BeforeValidator(_known_dtype)]
    nullable: bool = False

    @property
    def is_text(self) -> bool:
        """Whether a row is one text, which reaches the model in a one-dimensional array."""
        return self.dtype == "string" and self.shape == (-1,)

    @property
    def wire_dtype(self) -> str:
        """The dtype that crosses to the model: integers of which some may be missing are float64, NaN among them."""
        return "float64" if self.nullable and dtypes.by_name(self.dtype).json == "integer" else self.dtype

    @property
    def row_dims(self) -> tuple[int, ...]:
        """The shape of one row; a row of `[-1]` is one value, so (1,)."""
        return self.shape[1:] or (1,)

    @property
    def row_bytes(self) -> int:
        """How many bytes one row takes as a tensor; a free axis counts 1, a string as a short one does in memory."""
        itemsize = {"string": 64, "bool": 1}.get(self.dtype) or int("".join(filter(str.isdigit, self.dtype))) // 8
        return itemsize * math.prod(max(1, size) for size in self.row_dims)


def _explain_not_nullable(backend: Backend, dtype: str) -> str:
    if dtype == "bool":
        return "a bool has no value for what is missing: write dtype: float32, for 0, 1 and null, or remove this"
    return f"a model of backend {backend} has no value for a missing {dtype}, only NaN in floats: remove this"


def _cpu_only(value: str) -> str:
    if value.lower() != "cpu":
        raise ValueError(f"{value!r} is not served here: models run on the CPU, write cpu")
    return "cpu"


def _local_file(value: str) -> str:
    path = PurePosixPath(value)
    if "://" in value or path.is_absolute() or ".." in path.parts or "\\" in value or not path.parts:
        raise ValueError(f"{value!r} must be a relative path inside the model's own folder")
    return str(path)


def _plain_values(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"only text, numbers, booleans, lists and mappings can be passed on: {error}") from error
    return value


def _importable(value: str) -> str:
    if not _CLASS.fullmatch(value):
        raise ValueError(f"{value!r} must be written as package.module:ClassName")
    return value


class ModelArgs(_Strict):
    """What the backend loads: a file beside the YAML, or a class and its arguments."""

    model_file: Annotated[str, AfterValidator(_local_file)] | None = None
    device: Annotated[str, AfterValidator(_cpu_only)] = "cpu"
    class_: Annotated[str, AfterValidator(_importable)] | None = Field(None, alias="class")
    kwargs: Annotated[dict[str, Any], AfterValidator(_plain_values)] = {}
    method: Method | None = None


class QueueSpec(_Strict):
    """The bound of a model's queue, in requests, and how long one may wait in it."""

    max_size: int | None = Field(None, ge=1, le=1_000_000)
    timeout_ms: int | None = Field(None, ge=1, le=3_600_000)


def _known_python(value: Any) -> Any:
    if isinstance(value, float):
        written = "3.10" if value == 3.1 else str(value)
        raise ValueError(f'a number in YAML, where 3.10 is 3.1: write it in quotes: "{written}"')
    if isinstance(value, str) and value not in PYTHONS:
        found = re.fullmatch(r"3\.(\d{1,3})", value)
        if found and int(found[1]) > 13:
            raise ValueError(f"{value!r} is not served yet: use a 3.13 environment")
        if found and int(found[1]) < 10:
            raise ValueError(f"{value!r} is not served: the oldest is 3.10")
        raise ValueError(f"{value!r} is not one of {', '.join(PYTHONS)}")
    return value


def _file_or_lines(value: Any) -> Any:
    """Check the requirements of an environment: lines, or the name of the file that has them."""
    if isinstance(value, str):
        if not re.fullmatch(r"[\w./-]*[A-Za-z_]", value):
            raise ValueError(f"{value!r} is not the name of a file beside this one: write requirements as a list")
        name = _local_file(value)
        if name in LOCK_FILES:
            raise ValueError(f"{name} is what the build writes: give the file of requirements another name")
        return name
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("write a list of requirements, as in [scikit-learn==1.7.2], or the name of a file of them")
    lines = []
    for number, line in enumerate(value):
        try:
            if not isinstance(line, str):
                raise ValueError(f"{line!r} is no text: write it as in scikit-learn==1.7.2")
            lines.append(check_requirement(line))
        except ValueError as error:
            raise MisplacedError((number,), str(error)) from error
    return tuple(lines)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict | TensorSpec) else value


def _rules_or_false(value: Any) -> Any:
    if value is False or isinstance(value, VerifySpec):
        return value
    if value is not True and not isinstance(value, dict):
        raise ValueError(f"{value!r} is neither false nor rules, as in {{rtol: 1e-4, atol: 1e-6}}")
    return VerifySpec.model_validate({} if value is True else value)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _safe_name(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text in YAML: write it in quotes")
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a name is up to 128 letters, digits, dots, dashes and underscores, the first a letter or digit"
        )
    return value


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


def _some_endpoint(value: Any) -> Any:
    chosen = [value] if isinstance(value, str) else value
    if not chosen:
        raise ValueError(f"name at least one of {', '.join(ENDPOINTS)}, or leave the key out")
    if not isinstance(chosen, list | tuple):
        raise ValueError(f"{value!r} is not a list of {', '.join(ENDPOINTS)}")
    for item in chosen:
        _one_of(item, ENDPOINTS)
    return tuple(dict.fromkeys(chosen))


Tensors = Annotated[tuple[TensorSpec, ...], BeforeValidator(_as_list), Field(min_length=1)]
BatchSize = Annotated[int, Field(ge=1, le=_MOST_ROWS)]
BatchSizes = Annotated[
    tuple[BatchSize, ...], BeforeValidator(_one_or_many), AfterValidator(lambda sizes: tuple(sorted(set(sizes))))
]


class VerifySpec(_Strict):
    """How far served answers may be from those of sample.json; by the output's dtype unless said here."""

    rtol: float | None = Field(None, ge=0, le=1)
    atol: float | None = Field(None, ge=0)


class ModelSpec(_Strict):
    """One model, as its `model_config.yaml` says."""

    name: Annotated[str, BeforeValidator(_safe_name)]
    version: Annotated[str, BeforeValidator(_as_text)] = "1.0.0"
    description: str = ""
    backend: Annotated[Backend, BeforeValidator(lambda value: _one_of(value, BACKENDS))]
    caching: bool = False
    model_args: ModelArgs = ModelArgs()
    input: Tensors
    output: Tensors
    preferred_batch_size: BatchSizes = ()
    max_batch_delay_ms: float = Field(10, ge=0, le=60_000)
    rush_batch_size: BatchSize | None = None
    instances: int = Field(1, ge=1, le=64)
    max_memory_mb: int | None = Field(None, ge=1)
    warmup: bool = True
    queue: QueueSpec = QueueSpec()
    versions: int = Field(2, ge=1, le=100)
    trusted: bool = False
    endpoints: Annotated[tuple[Endpoint, ...], BeforeValidator(_some_endpoint)] = ENDPOINTS
    non_finite: Literal["error"] | None = "error"
    requirements: Annotated[str | tuple[str, ...] | None, BeforeValidator(_file_or_lines)] = None
    python: Annotated[str, BeforeValidator(_known_python)] | None = None
    environment: Literal["auto", "serving"] = "auto"
    accept_skew: bool = False
    verify: Annotated[VerifySpec | Literal[False], BeforeValidator(_rules_or_false)] = VerifySpec()

    @model_validator(mode="before")
    @classmethod
    def _blank_is_absent(cls, data: Any) -> Any:
        """Drop keys without a value, which mean the default; `non_finite: null` says something."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key == "non_finite"}

    @property
    def front_instances(self) -> int:
        """How many instances the front has: two keep the batcher awake, one more than the model has keeps that busy."""
        return max(2, self.instances + 1)

    @model_validator(mode="after")
    def _what_the_backend_needs(self) -> ModelSpec:
        args = self.model_args
        if self.backend == "python":
            if args.class_ is None:
                raise _at("class", "this key is missing: backend python needs package.module:ClassName")
            if args.model_file is not None:
                raise _at("model_file", "has no meaning for backend python: remove it")
            return self
        if args.model_file is None:
            raise _at("model_file", f"this key is missing: backend {self.backend} needs the file's name")
        suffixes = _SUFFIXES[self.backend]
        if PurePosixPath(args.model_file).suffix.lower() not in suffixes:
            raise _at(
                "model_file",
                f"{args.model_file!r} does not end in {' or '.join(suffixes)}, which backend {self.backend} loads",
            )
        if args.class_ is not None or args.kwargs:
            key = "class" if args.class_ is not None else "kwargs"
            raise _at(key, "is for backend python: remove it")
        if args.method is not None and self.backend in ("onnx", "torch"):
            raise _at("method", "is for sklearn and joblib models: remove it")
        return self

    @model_validator(mode="after")
    def _what_its_environment_may_be(self) -> ModelSpec:
        own = next((key for key in ("requirements", "python") if getattr(self, key) is not None), None)
        if own and self.backend == "onnx":
            raise MisplacedError((own,), "has no meaning for backend onnx, which runs no Python of yours: remove it")
        if own and self.environment == "serving":
            message = f"serving is no environment of its own, which {own} asks for: remove one of the two"
            raise MisplacedError(("environment",), message)
        if self.accept_skew and self.backend not in PICKLES:
            raise MisplacedError(("accept_skew",), "is for sklearn and joblib models: remove it")
        return self

    @model_validator(mode="after")
    def _what_may_be_missing(self) -> ModelSpec:
        kinds = nullable_kinds(self.backend)
        for key, tensors in (("input", self.input), ("output", self.output)):
            for i, tensor in enumerate(tensors):
                if tensor.nullable and key == "output":
                    message = "is for inputs: `non_finite: null` sends null for NaN in an answer"
                    raise MisplacedError((key, i, "nullable"), message)
                if tensor.nullable and dtypes.by_name(tensor.dtype).json not in kinds:
                    raise MisplacedError((key, i, "nullable"), _explain_not_nullable(self.backend, tensor.dtype))
        return self

    @model_validator(mode="after")
    def _names_of_tensors(self) -> ModelSpec:
        for key, tensors in (("input", self.input), ("output", self.output)):
            names = [tensor.name for tensor in tensors]
            if len(tensors) > 1 and None in names:
                raise MisplacedError((key,), "several tensors need a name each")
            if len(set(names)) != len(names):
                raise MisplacedError((key,), "two tensors have the same name")
            size = sum(tensor.row_bytes for tensor in tensors)
            if size > MOST_ROW_BYTES:
                largest = max(range(len(tensors)), key=lambda i: tensors[i].row_bytes)
                raise MisplacedError(
                    (key, largest, "shape"),
                    f"one row takes {size} bytes, and {MOST_ROW_BYTES} are the most: write the shape of one row, with "
                    "-1 in the place of rows, or divide what the model takes into several rows",
                )
        return self


def _at(key: str, message: str) -> MisplacedError:
    return MisplacedError(("model_args", key), message)


class ModelFile(_Strict):
    """The whole YAML file: one key, `model`."""

    model: ModelSpec
