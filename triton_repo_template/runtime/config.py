"""Per-model values, from the config.pbtxt that Triton hands over as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import LoadError

# Triton's names in config.pbtxt → numpy's. Strings are bytes objects in object arrays.
NUMPY_OF = {
    **{f"TYPE_FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"TYPE_{kind.upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    "TYPE_BOOL": "bool",
    "TYPE_STRING": "object",
}


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
    """One Triton model's config, as far as the runtime needs it."""

    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    parameters: Mapping[str, str]
    default_model_filename: str
    # Rows of the largest call; 0 where Triton does not batch.
    max_batch_size: int = 0

    @classmethod
    def parse(cls, text: str) -> ModelConfig:
        """Read `args["model_config"]` of Triton's `initialize`; a missing parameter is a LoadError once it is used."""
        data = json.loads(text)
        return cls(
            inputs=tuple(_tensor(item) for item in data["input"]),
            outputs=tuple(_tensor(item) for item in data["output"]),
            parameters=_Parameters({key: value["string_value"] for key, value in data.get("parameters", {}).items()}),
            default_model_filename=data.get("default_model_filename", ""),
            max_batch_size=int(data.get("max_batch_size", 0)),
        )


def _tensor(item: Mapping[str, Any]) -> TensorConfig:
    reshape = item.get("reshape")
    dims = reshape["shape"] if reshape else item["dims"]
    return TensorConfig(item["name"], NUMPY_OF[item["data_type"]], tuple(int(size) for size in dims))
