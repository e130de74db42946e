"""Under numpy 2 arrays cross by DLPack: tried with this numpy, which has it too, called 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_START = """
import json, sys
import numpy as np
np.__version__ = "2.0.0"
from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.fakes.dlpack_tensors import DlpackTensor
pb.Tensor = DlpackTensor
sys.modules["triton_python_backend_utils"] = pb
from tests.support.models.runtime_models import config_json, init_args, make_config, request
from triton_repo_template.runtime import triton_io
"""
_ARRAYS = """
likes = {name: np.array([[0, 1, 1], [1, 0, 1]]).astype(name) for name in sys.argv[1:]}
config = make_config(inputs=[(name, name, (3,)) for name in likes])
read = triton_io.read(request("", **likes), config)
assert all(array.dtype == likes[name].dtype for name, array in read.items())
frozen = likes["float32"].copy()
frozen.flags.writeable = False
gaps, columns = np.arange(12.0).reshape(2, 6)[:, ::2], np.asfortranarray(likes["int16"])
sent = read | {"gaps": gaps, "columns": columns, "frozen": frozen}
answer = triton_io.response(sent)
print(json.dumps({tensor.name(): tensor.values.tolist() for tensor in answer.tensors}))
del answer, sent, read
"""
_BLS = """
def echo(asked):
    assert all(isinstance(tensor, DlpackTensor) for tensor in asked.tensors)
    return pb.InferenceResponse([DlpackTensor("y", asked.tensors[0].values * 2)])

pb.InferenceRequest.handler = staticmethod(echo)
print(json.dumps(triton_io.infer("m", {"x": np.ones((1, 2), np.float32)}, make_config())["y"].tolist()))
"""
_FRONT = """
from pathlib import Path
from triton_repo_template.runtime.errors import LoadError
from triton_repo_template.runtime.front import TritonPythonModel
try:
    TritonPythonModel().initialize(init_args(Path(sys.argv[1]), config_json(inputs=[("x", "object", (1,))])))
except LoadError as error:
    print(json.dumps(str(error)))
"""
_DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def run(program: str, *args: str) -> Any:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _START + program, *args], cwd=root, capture_output=True, text=True, timeout=60
    )
    # Numpy says there what it thinks of capsules with another name.
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("dtypes", [_DTYPES, [*_DTYPES, "bool"]], ids=["numbers", "and booleans"])
def test_what_is_read_is_sent_again_whatever_its_layout(dtypes: list[str]) -> None:
    values = [[0, 1, 1], [1, 0, 1]]
    assert run(_ARRAYS, *dtypes) == {
        **dict.fromkeys(dtypes, values), "gaps": [[0, 2, 4], [6, 8, 10]], "columns": values, "frozen": values,
    }  # fmt: skip


def test_another_model_is_called_so_too() -> None:
    assert run(_BLS) == [[2, 2]]


def test_a_front_refuses_strings_which_would_end_its_process(tmp_path: Path) -> None:
    assert run(_FRONT, str(tmp_path)) == (
        "[schwift:load_error] strings of Triton's own clients need numpy 1 where fronts run: "
        "`schwift doctor` says how to have it"
    )
