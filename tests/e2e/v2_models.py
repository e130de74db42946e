"""Models for tests of the V2 protocol: an echo of each datatype, beside those of named_inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.e2e import named_inputs
from tests.e2e.sample_models import python_model

_ECHO = "class Echo:\n    def predict(self, X):\n        return X\n"
_SLOW = """\
import time


class Slow:
    def predict(self, X):
        if X.min() < 0:
            raise ValueError("negative")
        time.sleep(X.max() / 1e3)
        return X
"""
ECHOES: dict[str, tuple[str, npt.NDArray[np.generic]]] = {
    "fp32": ("float32", np.array([[1.5, -2.25, 1e-30], [3.0, 0.1, 4.0]], np.float32)),
    "fp64": ("float64", np.array([[1.5, -2.25, 1e-300], [3.0, 0.1, 4.0]])),
    "int32": ("int32", np.array([[1, -(2**31), 3], [4, 5, 2**31 - 1]], np.int32)),
    "int64": ("int64", np.array([[1, -(2**63), 3], [4, 5, 2**63 - 1]])),
    "uint8": ("uint8", np.array([[1, 2, 255], [4, 5, 6]], np.uint8)),
    "bool": ("bool", np.array([[True, False, True], [False, False, True]])),
    "bytes": ("string", np.array([[b"a", "größe".encode(), b""], [b"x:y", b"[1]", b'"']], object)),
}


def write_echo(models: Path, name: str) -> None:
    """Write the echo of one datatype."""
    dtype, array = ECHOES[name]
    python_model(models, f"echo_{name}", "model:Echo", _ECHO, f"[-1, {array.shape[1]}]", dtype)


def write_slow(models: Path) -> None:
    """Write a model that sleeps as many milliseconds as its largest number says."""
    python_model(models, "slow", "model:Slow", _SLOW, "[-1, 1]", "float32")


def write_all(models: Path) -> None:
    """Write all models, each into its folder of `models`."""
    named_inputs.write_all(models)
    for name in ECHOES:
        write_echo(models, name)
    write_slow(models)
