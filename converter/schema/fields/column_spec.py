"""One column of an input that reaches the model as a DataFrame."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator

from converter.schema import dtypes
from converter.schema.fields.field_checks import MisplacedError, json_key, known_dtype, nearest

# In the place of an input's dtype where its columns have each their own.
MIXED = "mixed"
_LONGEST_NAME = 256


def _named(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text in YAML: write it in quotes")
    if not value.isprintable() or not 0 < len(value) <= _LONGEST_NAME:
        raise ValueError(f"a column's name is 1 to {_LONGEST_NAME} characters that can be printed")
    return json_key(value)


class ColumnSpec(BaseModel):
    """One column, under the name that the model was fitted with."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: Annotated[str, BeforeValidator(_named)]
    dtype: Annotated[str, BeforeValidator(known_dtype)]
    nullable: bool = False

    @property
    def kind(self) -> dtypes.JsonKind:
        """What its values are in JSON."""
        return dtypes.by_name(self.dtype).json

    @property
    def wire_dtype(self) -> str:
        """The dtype in which it crosses to the model."""
        return dtypes.wire_name(self.dtype, self.nullable)

    @model_validator(mode="after")
    def _may_be_nullable(self) -> ColumnSpec:
        if self.nullable and self.kind == "boolean":
            raise MisplacedError(("nullable",), explain_not_nullable(self.dtype))
        return self


def _each_once(columns: tuple[ColumnSpec, ...]) -> tuple[ColumnSpec, ...]:
    seen: set[str] = set()
    for i, column in enumerate(columns):
        if column.name in seen:
            raise MisplacedError((i, "name"), f"the column {column.name} stands here twice: keep one")
        seen.add(column.name)
    return columns


Columns = Annotated[tuple[ColumnSpec, ...], AfterValidator(_each_once)]


def describe_columns(data: Any) -> Any:
    """Give an input with columns the shape and the dtype that it need not write. Raises MisplacedError if it does."""
    if not isinstance(data, dict) or not isinstance(data.get("columns"), list | tuple) or not data["columns"]:
        return data
    if data.get("dtype", MIXED) != MIXED:
        raise MisplacedError(("dtype",), "has no meaning beside columns, which have each their own: remove it")
    shape = [-1, len(data["columns"])]
    if list(data.get("shape") or shape) != shape:
        raise MisplacedError(("shape",), f"is {shape} for these columns: write that, or remove it")
    return {**data, "shape": shape, "dtype": MIXED}


def dtype_of_tensor(value: Any) -> str:
    """Return the dtype that a user's name means; MIXED is what `describe_columns` writes."""
    return MIXED if value == MIXED else known_dtype(value)


def explain_not_nullable(dtype: str, backend: str = "") -> str:
    """Say why values of this dtype cannot be missing, and what to do."""
    if dtype == "bool":
        return "a bool has no value for what is missing: write dtype: float32, for 0, 1 and null, or remove this"
    return f"a model of backend {backend} has no value for a missing {dtype}, only NaN in floats: remove this"


def suggest_column(name: str, columns: tuple[ColumnSpec, ...]) -> str:
    """Return ` (did you mean x?)` for the name of no column, or nothing; long names are not looked at."""
    return nearest(name, (column.name for column in columns)) if len(name) <= _LONGEST_NAME else ""
