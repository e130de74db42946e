"""An MLflow model folder: the file of a flavour that is served as it is, else the folder; its signature and example."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from converter.authoring.artifacts import Artifact, recognize
from converter.errors import ArtifactError

# Flavours whose own file is served, with the key that names it.
_FLAVORS = (
    ("onnx", "data"), ("sklearn", "pickled_model"), ("lightgbm", "data"), ("xgboost", "data"), ("catboost", "data"),
)  # fmt: skip
_DTYPES = {
    "double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool", "str": "string",
}  # fmt: skip
_SERVED = ("float32", "float64", "int32", "int64", "string", "bool")


@dataclass(frozen=True)
class MlflowFolder:
    """`artifact` is what is served of the folder; `form` is what the signature says of the input, if it says it."""

    artifact: Artifact
    flavor: str
    method: str | None
    form: dict[str, Any] | None
    example: Path | None
    trusted: tuple[str, ...]


def read_mlflow(folder: Artifact) -> MlflowFolder:
    """Read a folder's MLmodel. Raises ArtifactError if it is damaged."""
    try:
        said = yaml.safe_load((folder.path / "MLmodel").read_text(encoding="utf-8"))
        flavors = said["flavors"]
        signature = json.loads((said.get("signature") or {}).get("inputs") or "null")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ArtifactError(f"{folder.path}/MLmodel: it cannot be read: {error}") from error
    example = folder.path / str((said.get("saved_input_example_info") or {}).get("artifact_path", "-"))
    rest: dict[str, Any] = {"form": _read_signature(signature), "example": example if example.is_file() else None}
    for flavor, key in _FLAVORS:
        file = folder.path / str((flavors.get(flavor) or {}).get(key, "-"))
        if file.is_file() and folder.path.resolve() in file.resolve().parents:
            method = (flavors.get("python_function") or {}).get("predict_fn")
            trusted = tuple(flavors[flavor].get("skops_trusted_types") or ())
            return MlflowFolder(recognize(str(file)), flavor, method, trusted=trusted, **rest)
    if "python_function" not in flavors:
        raise ArtifactError(
            f"{folder.path}/MLmodel: of its flavours ({', '.join(flavors)}) none is served: save it with the flavour "
            "python_function"
        )
    return MlflowFolder(folder, "python_function", None, trusted=(), **rest)


def _read_signature(inputs: Any) -> dict[str, Any] | None:
    """Return the form of the input that a signature describes; None if it describes none, or one that is not served."""
    if not isinstance(inputs, list) or not inputs:
        return None
    if inputs[0].get("type") == "tensor":
        spec = inputs[0]["tensor-spec"]
        shape, dtype = spec["shape"], _name_dtype(spec["dtype"])
        if len(inputs) > 1 or len(shape) != 2 or shape[1] < 1 or dtype is None:
            return None
        return {"form": "matrix", "dtype": dtype, "width": shape[1], "from": "the signature"}
    columns = [
        {"name": item.get("name", str(i)), "dtype": _name_dtype(item["type"]), "from": "the signature"}
        for i, item in enumerate(inputs)
    ]
    return {"form": "columns", "columns": columns} if all(column["dtype"] for column in columns) else None


def _name_dtype(name: str) -> str | None:
    name = _DTYPES.get(name, name)
    return name if name in _SERVED else None
