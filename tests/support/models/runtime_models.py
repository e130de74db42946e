"""The arguments that Triton hands to `initialize`, and requests and responses as a test reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.fakes import triton_python_backend_utils as pb
from triton_repo_template.runtime.config import NUMPY_OF, ModelConfig
from triton_repo_template.runtime.wake import KEY_FILE

WAKE_KEY = "the mark of a wake-up, 32 letters or more"

# name, numpy dtype, shape of one row
TensorLike = tuple[str, str, tuple[int, ...]]

_TRITON_OF = {numpy: triton for triton, numpy in NUMPY_OF.items()}
_PARAMETERS = {
    "debug": "0", "instances": "1", "max_workers": "4", "import_roots": "[]", "method": "auto",
    "direct_model": "m_direct", "timeout_ms": "5000", "caching": "0",
}  # fmt: skip


def config_json(
    inputs: Sequence[TensorLike] = (("x", "float32", (2,)),),
    outputs: Sequence[TensorLike] = (("y", "float32", (1,)),),
    filename: str = "",
    max_batch_size: int = 8,
    **parameters: str,
) -> str:
    """As Triton writes config.pbtxt; dims () become `dims: [1] reshape { shape: [ ] }`."""

    def tensors(likes: Sequence[TensorLike]) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "data_type": _TRITON_OF[dtype],
                "dims": list(dims) or [1],
                **({} if dims else {"reshape": {"shape": []}}),
            }
            for name, dtype, dims in likes
        ]

    merged = {**_PARAMETERS, **parameters}
    return json.dumps(
        {
            "input": tensors(inputs),
            "output": tensors(outputs),
            "parameters": {key: {"string_value": value} for key, value in merged.items()},
            "default_model_filename": filename,
            "max_batch_size": max_batch_size,
        }
    )


def make_config(*args: Any, **kwargs: Any) -> ModelConfig:
    return ModelConfig.parse(config_json(*args, **kwargs))


def init_args(folder: Path, config: str) -> Mapping[str, str]:
    """`folder` is the model's folder; its version folder is made, with the key that the build puts there."""
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / KEY_FILE).write_text(WAKE_KEY + "\n")
    return {
        "model_config": config,
        "model_name": "m",
        "model_repository": str(folder),
        "model_version": "1",
    }


def request(request_id: str = "", **arrays: npt.NDArray[Any]) -> pb.InferenceRequest:
    return pb.InferenceRequest("m", [], [pb.Tensor(name, array) for name, array in arrays.items()], request_id)


def rows(*values: Any, dtype: str = "float32", request_id: str = "") -> pb.InferenceRequest:
    """A request of these rows for the input x."""
    return request(request_id, x=np.array(values, dtype))


def outcome(response: pb.InferenceResponse) -> Any:
    """The error's text, or the outputs as lists by name."""
    error = response.error()
    if error is not None:
        assert response.tensors == []
        return error.message()
    return {tensor.name(): tensor.as_numpy().tolist() for tensor in response.tensors}


def outcomes(responses: Sequence[pb.InferenceResponse]) -> list[Any]:
    return [outcome(response) for response in responses]
