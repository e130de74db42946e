"""Per-model values, from the config.pbtxt that Triton hands over as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import LoadError

# Triton's names in config.pbtxt → numpy's. Strings are objects in object arrays.
NUMPY_OF = {
    **{f"TYPE_FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"TYPE_{kind.upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "TYPE_BOOL": "bool",
    "TYPE_STRING": "object",
}

# What follows a string tensor's name in those of the two that cross in its place (packed_strings.py).
BYTES_SUFFIX = ".bytes"
LENGTHS_SUFFIX = ".lengths"
# What stands for None in a front's strings, if the config says that they are nullable: no UTF-8 has this byte.
NULL_TEXT = b"\xff"


class _Parameters(dict[str, str]):
    """The parameters of a config; one that the build always writes is missing from none but another's config."""

    def __missing__(self, name: str) -> str:
        raise LoadError(
            f"the config has no parameter {name}, so it is not the one that `schwift build-repo` wrote: "
            "load the model without another config"
        )


@dataclass(frozen=True)
class TensorConfig:
    """`dims` is the shape of one row as the backend sees it: () where config.pbtxt reshapes [1] to [ ]."""

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class ModelConfig:
    """One Triton model's config, as far as the runtime needs it.

    `inputs` and `outputs` are what the user's model takes and gives; Triton has two tensors in place of each whose name
    is in `packed_inputs` or `packed_outputs` (packed_strings.py).
    """

    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    parameters: Mapping[str, str]
    default_model_filename: str
    # Rows of the largest call; 0 where Triton does not batch.
    max_batch_size: int = 0
    packed_inputs: tuple[str, ...] = ()
    packed_outputs: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> ModelConfig:
        """Read `args["model_config"]` of Triton's `initialize`; a missing parameter is a LoadError once it is used."""
        return cls.read(json.loads(text))

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Read what `parse` reads of its text."""
        parameters = _Parameters({key: value["string_value"] for key, value in data.get("parameters", {}).items()})
        strings = json.loads(parameters.get("strings", "[]"))
        inputs, packed_inputs = _join_packed(data["input"], strings)
        outputs, packed_outputs = _join_packed(data["output"], strings)
        return cls(
            inputs=inputs,
            outputs=outputs,
            packed_inputs=packed_inputs,
            packed_outputs=packed_outputs,
            parameters=parameters,
            default_model_filename=data.get("default_model_filename", ""),
            max_batch_size=int(data.get("max_batch_size", 0)),
        )


def pack_strings_of(config: ModelConfig) -> ModelConfig:
    """Return the config of a front's direct model, which has its strings packed."""
    inputs, outputs = (
        tuple(item.name for item in items if item.dtype == "object") for items in (config.inputs, config.outputs)
    )
    return replace(config, packed_inputs=inputs, packed_outputs=outputs)


def _join_packed(
    items: Sequence[Mapping[str, Any]], strings: Sequence[str]
) -> tuple[tuple[TensorConfig, ...], tuple[str, ...]]:
    """Return what the model takes or gives, a string tensor in place of its lengths, and the names of these."""
    dropped = {name + BYTES_SUFFIX for name in strings}
    packed = {name + LENGTHS_SUFFIX: name for name in strings}
    tensors = [_tensor(item) for item in items if item["name"] not in dropped]
    joined = [
        replace(item, name=packed[item.name], dtype="object") if item.name in packed else item for item in tensors
    ]
    return tuple(joined), tuple(packed[item.name] for item in tensors if item.name in packed)


def _tensor(item: Mapping[str, Any]) -> TensorConfig:
    reshape = item.get("reshape")
    dims = reshape["shape"] if reshape else item["dims"]
    return TensorConfig(item["name"], NUMPY_OF[item["data_type"]], tuple(int(size) for size in dims))
