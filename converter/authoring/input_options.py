"""`--input-shape` and `--dtype`: what a model does not say of its inputs, and its author does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.errors import ConfigError
from converter.schema import dtypes
from converter.schema.model import nearest

_DEFAULT_NAME = "features"
_FLOAT = {"torch": "float32", "onnx": "float32"}


def read_shapes(shapes: Sequence[str]) -> dict[str, list[int]]:
    """Read the shape of one row, as `4`, `3,224,224` or `name=4`, by the input's name; "" for the only one."""
    found: dict[str, list[int]] = {}
    for text in shapes:
        name, _, sizes = text.rpartition("=")
        try:
            found[name] = [int(size) for size in sizes.split(",")] if sizes else []
            if any(size < 1 for size in found[name]):
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"--input-shape {text}: write the sizes of one row, as in 4 or 3,224,224, for several inputs name=4"
            ) from None
    return found


def read_dtypes(written: Sequence[str]) -> dict[str, str]:
    """Read dtypes, as `int64` or `name=int64`, by the input's name; "" for all others."""
    found = {}
    for text in written:
        name, _, dtype = text.rpartition("=")
        if dtype not in dtypes.NAMES:
            raise ConfigError(f"--dtype {text}: {dtype!r} is no dtype{nearest(dtype, dtypes.NAMES)}")
        found[name] = dtypes.by_name(dtype).name
    return found


def read_form(shapes: Sequence[str], written: Sequence[str], backend: str) -> dict[str, Any] | None:
    """Return the form of the input that the options describe; None if they do not."""
    sizes, types = read_shapes(shapes), read_dtypes(written)
    if not sizes:
        return None
    usual = types.get("", _FLOAT.get(backend, "float64"))
    if list(sizes) == [""] and backend not in ("torch", "onnx") and len(sizes[""]) == 1:
        return {"form": "matrix", "dtype": usual, "width": sizes[""][0], "from": "--input-shape"}
    tensors = [
        {"name": name or _DEFAULT_NAME, "dtype": types.get(name, usual), "shape": shape}
        for name, shape in sizes.items()
    ]
    return {"form": "tensors", "tensors": tensors, "from": "--input-shape"}
