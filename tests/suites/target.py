"""The server that the suites ask, and the models that they want."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.sample_models import folder
from tests.support.servers.ports import free_port
from tests.support.servers.serving import serving

# Triton's examples: sums and differences, of numbers and of texts, and an echo.
_SIMPLE = """\
class Simple:
    def predict(self, X):
        return {"OUTPUT0": X["INPUT0"] + X["INPUT1"], "OUTPUT1": X["INPUT0"] - X["INPUT1"]}
"""
_SIMPLE_STRING = """\
import numpy as np


class SimpleString:
    def predict(self, X):
        first, second = (np.asarray(X[name], dtype=object).astype(int) for name in ("INPUT0", "INPUT1"))
        return {"OUTPUT0": (first + second).astype(str), "OUTPUT1": (first - second).astype(str)}
"""
_IDENTITY = "class Identity:\n    def predict(self, X):\n        return X\n"
_DOUBLE = "class Double:\n    def predict(self, X):\n        return X * 2\n"
_PRICE = "class Price:\n    def predict(self, X):\n        return X['rooms'] * 100 + X['city'].str.len()\n"
_SUM = "class Sum:\n    def predict(self, X):\n        return X.sum(axis=1, keepdims=True)\n"


@dataclass(frozen=True)
class Target:
    """Where the server is: `url` is http://host:port, `address` host:port, `grpc` that of its V2 over gRPC."""

    url: str
    grpc: str

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")


@contextmanager
def serve_models(write: Callable[[Path], None], scratch: Path) -> Iterator[Target]:
    """Serve the models that `write` puts into a folder, from and in `scratch`."""
    write(scratch / "models")
    port = free_port()
    settings = {"SCHWIFT_GRPC_PORT": str(port), "SCHWIFT_DEFAULT_MODEL": "double"}
    if not (scratch / "models" / "double").exists():
        del settings["SCHWIFT_DEFAULT_MODEL"]
    with serving(scratch / "models", scratch, **settings) as server:
        yield Target(server.url, f"127.0.0.1:{port}")


def write_models(models: Path) -> None:
    """Write those that all but MLServer's tests want."""
    for name, dtype, code in (
        ("simple", "int32", _SIMPLE), ("simple_int8", "int8", _SIMPLE), ("simple_string", "string", _SIMPLE_STRING),
    ):  # fmt: skip
        tensors = [
            f"  {side}:\n"
            + "".join(f"    - {{name: {side.upper()}{i}, shape: [-1, 16], dtype: {dtype}}}\n" for i in (0, 1))
            for side in ("input", "output")
        ]
        _write(models, name, code, "".join(tensors))
    numbers = [str(i) for i in range(16)]
    sample = {
        "features": {"INPUT0": [numbers], "INPUT1": [numbers]},
        "predictions": {"OUTPUT0": [[str(2 * i) for i in range(16)]], "OUTPUT1": [["0"] * 16]},
    }
    (models / "simple_string" / "sample.json").write_text(json.dumps(sample), encoding="utf-8")
    _write(models, "simple_identity", _IDENTITY, _tensors("INPUT0", "[-1, 16]", "OUTPUT0", "[-1, 16]", "string"))
    _write(models, "double", _DOUBLE, _tensors("features", "[-1, 3]", "predictions", "[-1, 3]", "float32"))
    columns = "  input:\n    columns:\n      - {name: city, dtype: string}\n      - {name: rooms, dtype: int64}\n"
    _write(models, "price", _PRICE, columns + "  output: {shape: [-1], dtype: float64}\n")


def write_sum_model(models: Path) -> None:
    """Write the one that MLServer's tests want, under its name; they count the models."""
    _write(models, "sum-model", _SUM, _tensors("input-0", "[-1, 3]", "output-0", "[-1, 1]", "int32"))


def _tensors(given: str, shape: str, answered: str, answered_shape: str, dtype: str) -> str:
    return (
        f"  input:\n    - {{name: {given}, shape: {shape}, dtype: {dtype}}}\n"
        f"  output:\n    - {{name: {answered}, shape: {answered_shape}, dtype: {dtype}}}\n"
    )


def _write(models: Path, name: str, code: str, tensors: str) -> None:
    cls = code.partition("class ")[2].partition(":")[0]
    config = f"model:\n  name: {name}\n  backend: python\n  model_args: {{class: 'model:{cls}'}}\n{tensors}"
    (folder(models, name, config) / "model.py").write_text(code, encoding="utf-8")
