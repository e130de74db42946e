"""`model_config.yaml` as types: frozen, with the keys of the first SchwiftServe, and no key that is not known."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from converter.schema import dtypes
from converter.schema.fields.class_labels import Classes, meaning_of
from converter.schema.fields.column_spec import (
    MIXED,
    Columns,
    ColumnSpec,
    describe_columns,
    dtype_of_tensor,
    explain_not_nullable,
)  # fmt: skip
from converter.schema.fields.field_checks import (
    LOCK_FILES,
    LOCK_NAME,
    PYTHONS,
    MisplacedError,
    as_text,
    batch_first,
    cpu_only,
    file_or_lines,
    importable,
    json_key,
    known_python,
    local_file,
    nearest,
    one_of,
    one_or_many,
    plain_values,
    safe_name,
    whole_numbers,
)  # fmt: skip
from converter.schema.fields.scheduling import Duration, Instances, Pack, PrioritySpec

# What others ask for here, though it is defined below fields/.
__all__ = ["LOCK_FILES", "LOCK_NAME", "PYTHONS", "MisplacedError", "nearest"]

Backend = Literal["sklearn", "joblib", "onnx", "python", "torch"]
Endpoint = Literal["predict", "predict_batched"]
Method = Literal["predict", "predict_proba", "decision_function", "transform"]

BACKENDS: tuple[Backend, ...] = get_args(Backend)
# Those whose file is a pickle, which says what it was made with.
PICKLES: tuple[Backend, ...] = ("sklearn", "joblib")
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)

# As joblib compresses them; what a file is compressed with is read from its beginning.
_COMPRESSED = ("", ".gz", ".bz2", ".xz", ".lzma", ".z", ".lz4")
_PICKLED = tuple(ending + more for ending in (".joblib", ".pkl", ".pickle") for more in _COMPRESSED)
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "sklearn": _PICKLED,
    "joblib": _PICKLED,
    "onnx": (".onnx",),
    "torch": (".pt", ".pth"),
}
# Triton keeps a dimension as int64; what fits a batch is far below.
_MOST_ROWS = 1_000_000
# The bound of one row, all inputs or all outputs together: as JSON it is more than the largest body that is usual, and
# made-up rows are asked of every model.
MOST_ROW_BYTES = 64 * 1024 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())


def nullable_kinds(backend: Backend) -> tuple[dtypes.JsonKind, ...]:
    """Return the kinds of values that may be missing in a model's inputs: a graph has NaN for floats, and no more."""
    return ("number",) if backend in ("onnx", "torch") else ("number", "integer", "string")


class TensorSpec(_Strict):
    """One input or output. `shape` counts rows first: [-1, 4] is any number of rows of 4 values.

    With `columns`, which an input may have in place of its shape and dtype, the dtype is MIXED.
    """

    name: str | None = None
    type: Literal["array"] = "array"
    shape: Annotated[tuple[int, ...], BeforeValidator(whole_numbers), AfterValidator(batch_first)]
    dtype: Annotated[str, BeforeValidator(dtype_of_tensor)]
    nullable: bool = False
    columns: Columns = ()

    _of_columns = model_validator(mode="before")(describe_columns)

    @model_validator(mode="after")
    def _has_a_dtype(self) -> TensorSpec:
        if self.dtype == MIXED and not self.columns:
            raise MisplacedError(
                ("dtype",), f"{MIXED} is for inputs with columns: write one of {', '.join(dtypes.NAMES)}"
            )
        if self.columns and self.nullable:
            raise MisplacedError(("nullable",), "stands at each of the columns: remove it here")
        return self

    @property
    def is_text(self) -> bool:
        """Whether a row is one text, which reaches the model in a one-dimensional array."""
        return self.dtype == "string" and self.shape == (-1,)

    @property
    def wire_dtype(self) -> str:
        """The dtype that crosses to the model: integers of which some may be missing are float64, NaN among them."""
        return dtypes.wire_name(self.dtype, self.nullable)

    @property
    def row_dims(self) -> tuple[int, ...]:
        """The shape of one row; a row of `[-1]` is one value, so (1,)."""
        return self.shape[1:] or (1,)

    @property
    def row_bytes(self) -> int:
        """How many bytes one row takes as a tensor; a free axis counts 1, a string as a short one does in memory."""
        if self.columns:
            return sum(dtypes.byte_size(column.wire_dtype) for column in self.columns)
        return dtypes.byte_size(self.dtype) * math.prod(max(1, size) for size in self.row_dims)


class ModelArgs(_Strict):
    """What the backend loads: a file beside the YAML, or a class and its arguments."""

    model_file: Annotated[str, AfterValidator(local_file)] | None = None
    device: Annotated[str, AfterValidator(cpu_only)] = "cpu"
    class_: Annotated[str, AfterValidator(importable)] | None = Field(None, alias="class")
    kwargs: Annotated[dict[str, Any], AfterValidator(plain_values)] = {}
    method: Method | None = None


class QueueSpec(_Strict):
    """The bound of a model's queue, in requests, and how long one may wait in it."""

    max_size: int | None = Field(None, ge=1, le=1_000_000)
    timeout_ms: int | None = Field(None, ge=1, le=3_600_000)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict | TensorSpec) else value


def _rules_or_false(value: Any) -> Any:
    if value is False or isinstance(value, VerifySpec):
        return value
    if value is not True and not isinstance(value, dict):
        raise ValueError(f"{value!r} is neither false nor rules, as in {{rtol: 1e-4, atol: 1e-6}}")
    return VerifySpec.model_validate({} if value is True else value)


def _some_endpoint(value: Any) -> Any:
    chosen = [value] if isinstance(value, str) else value
    if not chosen:
        raise ValueError(f"name at least one of {', '.join(ENDPOINTS)}, or leave the key out")
    if not isinstance(chosen, list | tuple):
        raise ValueError(f"{value!r} is not a list of {', '.join(ENDPOINTS)}")
    for item in chosen:
        one_of(item, ENDPOINTS)
    return tuple(dict.fromkeys(chosen))


Tensors = Annotated[tuple[TensorSpec, ...], BeforeValidator(_as_list), Field(min_length=1)]
BatchSize = Annotated[int, Field(ge=1, le=_MOST_ROWS)]
BatchSizes = Annotated[
    tuple[BatchSize, ...], BeforeValidator(one_or_many), AfterValidator(lambda sizes: tuple(sorted(set(sizes))))
]


class VerifySpec(_Strict):
    """How far served answers may be from those of sample.json; by the output's dtype unless said here."""

    rtol: float | None = Field(None, ge=0, le=1)
    atol: float | None = Field(None, ge=0)


class ModelSpec(_Strict):
    """One model, as its `model_config.yaml` says."""

    name: Annotated[str, BeforeValidator(safe_name)]
    version: Annotated[str, BeforeValidator(as_text)] = "1.0.0"
    description: str = ""
    backend: Annotated[Backend, BeforeValidator(lambda value: one_of(value, BACKENDS))]
    caching: bool = False
    model_args: ModelArgs = ModelArgs()
    input: Tensors
    output: Tensors
    preferred_batch_size: BatchSizes = ()
    max_batch_delay_ms: float = Field(10, ge=0, le=60_000)
    rush_batch_size: BatchSize | None = None
    max_batch_size: BatchSize | None = None
    instances: Instances = 1
    pack: Pack | None = None
    load: Literal["eager", "lazy"] = "eager"
    idle_unload: Duration | None = None
    max_memory_mb: int | None = Field(None, ge=1)
    warmup: bool = True
    queue: QueueSpec = QueueSpec()
    priority: PrioritySpec | None = None
    versions: int = Field(2, ge=1, le=100)
    trusted: bool = False
    endpoints: Annotated[tuple[Endpoint, ...], BeforeValidator(_some_endpoint)] = ENDPOINTS
    non_finite: Literal["error"] | None = "error"
    requirements: Annotated[str | tuple[str, ...] | None, BeforeValidator(file_or_lines)] = None
    python: Annotated[str, BeforeValidator(known_python)] | None = None
    environment: Literal["auto", "serving"] = "auto"
    accept_skew: bool = False
    verify: Annotated[VerifySpec | Literal[False], BeforeValidator(_rules_or_false)] = VerifySpec()
    classes: Classes = ()
    triton: Annotated[dict[str, Any], AfterValidator(plain_values)] = {}

    @model_validator(mode="before")
    @classmethod
    def _is_not_decoupled(cls, data: Any) -> Any:
        if isinstance(data, dict) and "decoupled" in data:
            message = (
                "a decoupled model answers a request never or many times, and over HTTP each request here has one "
                "answer: remove it, and return the whole answer at once"
            )
            raise MisplacedError(("decoupled",), message)
        return data

    @model_validator(mode="before")
    @classmethod
    def _blank_is_absent(cls, data: Any) -> Any:
        """Drop keys without a value, which mean the default; `non_finite: null` says something."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key == "non_finite"}

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns that the model takes: those of its input, or several inputs that are one value each."""
        if self.input[0].columns:
            return self.input[0].columns
        if len(self.input) == 1 or self.backend not in PICKLES or any(item.row_dims != (1,) for item in self.input):
            return ()
        return tuple(ColumnSpec(name=item.name or "", dtype=item.dtype, nullable=item.nullable) for item in self.input)

    @property
    def front_instances(self) -> int:
        """How many instances the front has: one, since each is a process; with several, one more than the model has.

        One keeps the batcher awake (`runtime/wake.py`). Who wants a model to work on several batches at once pays for
        its processes, and then a batch more is to be at hand.
        """
        return 1 if self.instances == 1 else self.instances + 1

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
        if not args.model_file.lower().endswith(suffixes):
            plain = [suffix for suffix in suffixes if suffix.count(".") == 1]
            message = f"{args.model_file!r} does not end in {' or '.join(plain)}, which backend {self.backend} loads"
            other = next((name for name, known in _SUFFIXES.items() if args.model_file.lower().endswith(known)), None)
            raise _at("model_file", f"{message}: write backend: {other}" if other else message)
        if args.class_ is not None or args.kwargs:
            key = "class" if args.class_ is not None else "kwargs"
            raise _at(key, "is for backend python: remove it")
        if args.method is not None and self.backend in ("onnx", "torch"):
            raise _at("method", "is for sklearn and joblib models: remove it")
        return self

    @model_validator(mode="after")
    def _batch_sizes_fit(self) -> ModelSpec:
        most, largest = self.max_batch_size, max(self.preferred_batch_size, default=0)
        if most is not None and largest > most:
            message = f"{largest} is more than max_batch_size, which is {most}: lower it, or raise max_batch_size"
            raise MisplacedError(("preferred_batch_size",), message)
        if most is not None and self.rush_batch_size not in (None, most):
            message = f"{self.rush_batch_size}, and max_batch_size is {most}, both the most rows of a call: remove one"
            raise MisplacedError(("rush_batch_size",), message)
        return self

    @model_validator(mode="after")
    def _priority_has_a_queue(self) -> ModelSpec:
        if self.priority is not None and "predict_batched" not in self.endpoints:
            message = "is of the queue that endpoints: [predict] leaves out: remove one of the two"
            raise MisplacedError(("priority",), message)
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
                    raise MisplacedError((key, i, "nullable"), explain_not_nullable(tensor.dtype, self.backend))
        return self

    @model_validator(mode="after")
    def _classes_fit_an_output(self) -> ModelSpec:
        count = len(self.classes)
        if count and not any(meaning_of(item.dtype, item.row_dims, self.classes) for item in self.output):
            message = (
                f"there are {count}, and no output has a float for each, or one label: list all that the model has; "
                f"for {count} write output shape: [-1, {count}] for probabilities, or shape: [-1, 1] and the labels' "
                "dtype for labels"
            )
            raise MisplacedError(("classes",), message)
        return self

    @model_validator(mode="after")
    def _where_columns_may_be(self) -> ModelSpec:
        for i, tensor in enumerate(self.output):
            if tensor.columns:
                raise MisplacedError(("output", i, "columns"), "is for inputs: write shape and dtype")
        for i, tensor in enumerate(self.input):
            if tensor.columns and len(self.input) > 1:
                raise MisplacedError(("input", i, "columns"), "is for the only input: write all columns there")
            if tensor.columns and self.backend in ("onnx", "torch"):
                message = f"a model of backend {self.backend} takes tensors: name each of its inputs, or write shape"
                raise MisplacedError(("input", i, "columns"), message)
        return self

    @model_validator(mode="after")
    def _names_of_tensors(self) -> ModelSpec:
        for key, tensors in (("input", self.input), ("output", self.output)):
            names = [tensor.name for tensor in tensors]
            if len(tensors) > 1 and None in names:
                raise MisplacedError((key,), "several tensors need a name each")
            if len(set(names)) != len(names):
                raise MisplacedError((key,), "two tensors have the same name")
            if key == "input" and len(tensors) > 1:
                for i, name in enumerate(names):
                    _check_key((key, i, "name"), name or "")
            size = sum(tensor.row_bytes for tensor in tensors)
            if size > MOST_ROW_BYTES:
                largest = max(range(len(tensors)), key=lambda i: tensors[i].row_bytes)
                raise MisplacedError(
                    (key, largest, "shape"),
                    f"one row takes {size} bytes, and {MOST_ROW_BYTES} are the most: write the shape of one row, with "
                    "-1 in the place of rows, or divide what the model takes into several rows",
                )
        return self


def _check_key(place: tuple[str | int, ...], name: str) -> None:
    try:
        json_key(name)
    except ValueError as error:
        raise MisplacedError(place, str(error)) from None


def _at(key: str, message: str) -> MisplacedError:
    return MisplacedError(("model_args", key), message)


class ModelFile(_Strict):
    """The whole YAML file: one key, `model`."""

    model: ModelSpec
