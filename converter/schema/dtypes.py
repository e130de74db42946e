"""The one table of dtypes: the names users write, and numpy's, Triton's, ONNX's and JSON's for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JsonKind = Literal["number", "integer", "boolean", "string"]


@dataclass(frozen=True)
class DType:
    """One element type under each of its names.

    `triton` is the wire name (`FP32`); config.pbtxt says `TYPE_FP32`, and `TYPE_STRING` for `BYTES`.
    """

    name: str
    numpy: str
    triton: str
    onnx: str
    json: JsonKind

    @property
    def config(self) -> str:
        """The name in config.pbtxt."""
        return "TYPE_STRING" if self.triton == "BYTES" else f"TYPE_{self.triton}"


DTYPES: tuple[DType, ...] = (
    DType("float16", "float16", "FP16", "tensor(float16)", "number"),
    DType("float32", "float32", "FP32", "tensor(float)", "number"),
    DType("float64", "float64", "FP64", "tensor(double)", "number"),
    DType("int8", "int8", "INT8", "tensor(int8)", "integer"),
    DType("int16", "int16", "INT16", "tensor(int16)", "integer"),
    DType("int32", "int32", "INT32", "tensor(int32)", "integer"),
    DType("int64", "int64", "INT64", "tensor(int64)", "integer"),
    DType("uint8", "uint8", "UINT8", "tensor(uint8)", "integer"),
    DType("uint16", "uint16", "UINT16", "tensor(uint16)", "integer"),
    DType("uint32", "uint32", "UINT32", "tensor(uint32)", "integer"),
    DType("uint64", "uint64", "UINT64", "tensor(uint64)", "integer"),
    DType("bool", "bool", "BOOL", "tensor(bool)", "boolean"),
    DType("string", "object", "BYTES", "tensor(string)", "string"),
)

_BY_NAME = {dtype.name: dtype for dtype in DTYPES}
_BY_ONNX = {dtype.onnx: dtype for dtype in DTYPES}
_ALIASES = {
    "integer": "int64",
    "int": "int64",
    "float": "float64",
    "double": "float64",
    "half": "float16",
    "str": "string",
    "boolean": "bool",
}

NAMES: tuple[str, ...] = tuple(_BY_NAME) + tuple(_ALIASES)


def by_name(name: str) -> DType:
    """Return the dtype that a user's name means, `integer` int64 and `float` float64. Raises KeyError if it is none."""
    return _BY_NAME[_ALIASES.get(name, name)]


def wire_name(name: str, nullable: bool) -> str:
    """Return the dtype that crosses to a model: integers that may be missing are float64, NaN among them."""
    return "float64" if nullable and by_name(name).json == "integer" else name


def byte_size(name: str) -> int:
    """Return how many bytes a value takes as a tensor, a string as many as a short one does in memory."""
    return {"string": 64, "bool": 1}.get(name) or int("".join(filter(str.isdigit, name))) // 8


def by_onnx(name: str) -> DType | None:
    """Return the dtype of an ONNX type such as `tensor(float)`; None for a sequence, a map, or bfloat16."""
    return _BY_ONNX.get(name)
