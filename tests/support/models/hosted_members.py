"""A host with members in a repository of a test, and what it is asked and answers, as a test reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt

from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.runtime_models import WAKE_KEY, TensorLike, config_json
from triton_repo_template.runtime.host.envelope import INFER, Part, RawTensor, read_envelope, write_envelope

HOST_KEY = b"0123456789abcdef0123456789abcdef"
X: Sequence[TensorLike] = (("x", "float32", (2,)),)
Y: Sequence[TensorLike] = (("y", "float32", (1,)),)


class Sums:
    """A model that answers with each row's sum, and counts its calls; a negative one is an error."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def predict(self, rows: Any) -> Any:
        if (rows < 0).any():
            raise ValueError("negative")
        if (rows == 13).any():
            raise SystemExit(3)
        return rows.sum(axis=1) * self.factor


class Upper:
    """A model of strings."""

    def predict(self, rows: Any) -> Any:
        return np.array([["none" if text is None else text.upper() for text in row] for row in rows], object)


class Broken:
    """A model that cannot be loaded."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def write_member(
    repository: Path,
    name: str,
    model: Any,
    version: int = 1,
    inputs: Sequence[TensorLike] = X,
    outputs: Sequence[TensorLike] = Y,
    wire: Mapping[str, Any] | None = None,
    **config: Any,
) -> str:
    """Write a member's files, and return what a host knows it by. `wire` are its tensors if they are packed."""
    folder = repository / f"{name}_alone" / str(version)
    folder.mkdir(parents=True)
    joblib.dump(model, folder / "model.joblib")
    text = config_json(inputs=inputs, outputs=outputs, kind="sklearn", model_file="model.joblib", **config)
    described = {**json.loads(text), **(wire or {})}
    member = {"name": name, "pack": "p_pack_direct", "backend": "python", "config": described}
    (folder / "member.json").write_text(json.dumps(member))
    return f"{name}_alone/{version}"


def host_args(repository: Path, name: str = "p_pack_direct", **parameters: str) -> Mapping[str, str]:
    """Make a host's folder, or its front's, and return what Triton hands to `initialize`."""
    folder = repository / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder.parent / "config.pbtxt").touch()
    (folder / "host_key").write_bytes(HOST_KEY)
    (folder / "wake_key").write_text(WAKE_KEY + "\n")
    if not (folder / "members.json").exists():
        (folder / "members.json").write_text("{}")
    return {
        "model_config": config_json((), (), "", 8, **{"direct_model": "p_pack_direct", **parameters}),
        "model_name": name,
        "model_repository": str(folder.parent),
        "model_version": "1",
    }


def infer(key: str, *arrays: npt.NDArray[Any]) -> Part:
    return Part(INFER, key.encode(), [RawTensor(array.shape, array.tobytes()) for array in arrays])


def sums_of(key: str, *rows: Sequence[float]) -> Part:
    return infer(key, np.array(rows, np.float32))


def call(*parts: Part, key: bytes = HOST_KEY) -> pb.InferenceRequest:
    return call_of(write_envelope(parts, key))


def call_of(data: bytes | bytearray) -> pb.InferenceRequest:
    return named({"schwift.call": np.frombuffer(data, np.uint8).reshape(1, -1)})


def named(arrays: Mapping[str, npt.NDArray[Any]], request_id: str = "") -> pb.InferenceRequest:
    """A request of tensors whose names are no Python names."""
    return pb.InferenceRequest("m", [], [pb.Tensor(name, array) for name, array in arrays.items()], request_id)


def parts_of(response: pb.InferenceResponse) -> list[Part]:
    """The parts of an answer."""
    assert response.error() is None
    (tensor,) = response.tensors
    assert tensor.name() == "schwift.answer"
    return read_envelope(tensor.as_numpy().reshape(-1).data)[1]


def floats(part: Part) -> Any:
    """The rows of an answer's only tensor."""
    (tensor,) = part.tensors
    return np.frombuffer(tensor.values, np.float32).reshape(tensor.shape).tolist()
