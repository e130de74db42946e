"""Manifest entries without a build."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from converter.inspect.discover import ModelSource
from converter.inspect.inspector import ModelFacts
from converter.repository.tensors import resolve
from converter.schema import dtypes
from converter.schema.manifest import Manifest, ModelEntry, Tensor
from converter.schema.model import ModelSpec

# name, dtype and the shape of one row; () for the shape [-1].
TensorLike = tuple[str, str, tuple[int, ...]]


def tensor(like: TensorLike) -> Tensor:
    name, dtype, dims = like
    return Tensor(name=name, dtype=dtypes.by_name(dtype).name, dims=dims or (1,))


def make_entry(
    name: str = "m",
    inputs: Sequence[TensorLike] = (("x", "float32", (4,)),),
    outputs: Sequence[TensorLike] = (("y", "float32", (2,)),),
    direct_max_rows: int = 8,
    nullable: Collection[str] = (),
    **spec: Any,
) -> ModelEntry:
    """One source model of the Python backend; `spec` are more keys of its model_config.yaml.

    `nullable` are inputs, by name.

    It is asked no made-up rows, which a test's backend would count or fail; `warmup=True` asks them.
    """

    def described(likes: Sequence[TensorLike]) -> list[Mapping[str, Any]]:
        return [{"name": name, "shape": [-1, *dims], "dtype": dtype} for name, dtype, dims in likes]

    model = ModelSpec.model_validate(
        {
            "name": name,
            "backend": "python",
            "model_args": {"class": "module:Class"},
            "input": [{**item, "nullable": item["name"] in nullable} for item in described(inputs)],
            "output": described(outputs),
            "warmup": False,
            **spec,
        }
    )
    return ModelEntry(
        spec=model,
        front=name if "predict_batched" in model.endpoints else None,
        direct=f"{name}_direct",
        version=1,
        inputs=tuple(tensor((item.name or "", item.wire_dtype, item.shape[1:])) for item in model.input),
        outputs=tuple(tensor(like) for like in outputs),
        direct_max_rows=direct_max_rows,
        queue_size=1024,
    )


def make_columns_entry(columns: Sequence[Mapping[str, Any]], name: str = "m", **spec: Any) -> ModelEntry:
    """One source model whose input has these columns; or with `input`, several inputs of one value each."""
    model = ModelSpec.model_validate(
        {
            "name": name,
            "backend": "joblib",
            "model_args": {"model_file": "m.joblib"},
            "input": {"columns": list(columns)},
            "output": {"shape": [-1, 2], "dtype": "float32"},
            "warmup": False,
            **spec,
        }
    )
    tensors = resolve(ModelSource(model, "models/m/model_config.yaml", Path("models/m"), ()), ModelFacts())
    return ModelEntry(
        spec=model,
        front=name,
        direct=f"{name}_direct",
        version=1,
        inputs=tuple(plan.tensor for plan in tensors.inputs),
        outputs=tuple(plan.tensor for plan in tensors.outputs),
        direct_max_rows=8,
        queue_size=1024,
        columns=model.columns,
    )


def make_manifest(*entries: ModelEntry) -> Manifest:
    return Manifest(models=entries or (make_entry(),))
