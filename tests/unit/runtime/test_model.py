"""`m_direct` with Triton's Python backend: load, call, answer."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fakes import triton_python_backend_utils as pb
from tests.support.models.runtime_models import TensorLike, config_json, init_args, outcomes, request, rows
from triton_repo_template.runtime import model as runtime_model
from triton_repo_template.runtime.errors import ModelError
from triton_repo_template.runtime.packed_strings import pack_strings, unpack_strings

SCRIPT = """
import numpy as np

class Model:
    calls = []

    def predict(self, X):
        type(self).calls.append(len(X))
        if (X[:, 0] < 0).any():
            raise ValueError("negative")
        if (X[:, 0] == 99).any():
            raise SystemExit("enough")
        if (X[:, 0] == 77).any():
            return [[0.5, 0.5]]
        return X.sum(axis=1)

class Upper:
    def predict(self, X):
        assert X.dtype == object and isinstance(X[0, 0], str)
        return [[text.upper() + "\\u00e9" for text in row] for row in X]

class SaysNone:
    def predict(self, X):
        return [[repr(text) if text is not None else "None" for text in row] for row in X]

class Keys:
    def predict(self, X):
        return [[float(len(X))]]

class Broken:
    def __init__(self):
        raise OSError("/srv/secret is not there")

class Exits:
    def __init__(self):
        raise SystemExit(3)
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The runtime sets the environment, the thread pools and the path of its own process."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(runtime_model, "limit_loaded", lambda threads: None)
    monkeypatch.setattr(pb.Logger, "lines", [])
    yield
    sys.modules.pop("users_script", None)


# What Triton has in place of an input x and an output y of two strings a row.
TEXT = (
    (("x.bytes", "uint8", (-1,)), ("x.lengths", "int32", (2,))),
    (("y.bytes", "uint8", (-1,)), ("y.lengths", "int32", (2,))),
)
STRINGS = '["x", "y"]'


def load(
    folder: Path,
    name: str = "Model",
    inputs: Sequence[TensorLike] = (("x", "float32", (2,)),),
    outputs: Sequence[TensorLike] = (("y", "float32", (1,)),),
    **parameters: str,
) -> runtime_model.TritonPythonModel:
    (folder / "1").mkdir()
    (folder / "1" / "users_script.py").write_text(SCRIPT)
    python = {"kind": "python", "kwargs": "{}", "import_roots": '["."]', "class": f"users_script:{name}"}
    loaded = runtime_model.TritonPythonModel()
    loaded.initialize(init_args(folder, config_json(inputs, outputs, "", 8, **python, **parameters)))
    return loaded


def test_a_batch_is_one_call_of_the_users_model(tmp_path: Path) -> None:
    model = load(tmp_path)
    responses = model.execute([rows([1, 2]), rows([3, 4], [5, 6])])
    assert outcomes(responses) == [{"y": [[3.0]]}, {"y": [[7.0], [11.0]]}]
    assert sys.modules["users_script"].Model.calls == [3]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (-1, "[schwift:model_error] ValueError: negative"),
        (99, "[schwift:model_error] SystemExit: enough"),
        (77, "[schwift:bad_model_output] output y has rows of shape [2], and the config says [1]"),
    ],
)
def test_a_bad_row_is_its_own_requests_error_without_a_traceback(tmp_path: Path, bad: int, said: str) -> None:
    responses = load(tmp_path).execute([rows([1, 2]), rows([bad, 0]), rows([3, 4])])
    assert outcomes(responses) == [{"y": [[3.0]]}, said, {"y": [[7.0]]}]
    assert not any("Traceback" in line for line in pb.Logger.lines)
    assert any("a call of 3 rows failed" in line for line in pb.Logger.lines)


def test_debug_logs_the_traceback_and_a_line_a_call(tmp_path: Path) -> None:
    model = load(tmp_path, debug="1")
    model.execute([rows([-1, 2])])
    assert any("Traceback" in line and "negative" in line for line in pb.Logger.lines)
    pb.Logger.lines.clear()
    model.execute([rows([1, 2])])
    (line,) = pb.Logger.lines
    assert line.startswith("m: 1 rows in ")


def texts(*rows: Sequence[bytes | None]) -> pb.InferenceRequest:
    """A request of these rows for the input x."""
    packed, lengths = pack_strings(np.array(rows, object))
    return request("", **{"x.bytes": packed, "x.lengths": lengths})


def answered(outputs: Mapping[str, Any]) -> Any:
    """The strings of the output y."""
    assert list(outputs) == ["y.bytes", "y.lengths"]
    packed, lengths = np.array(outputs["y.bytes"], np.uint8), np.array(outputs["y.lengths"], np.int32)
    return [[item.decode() for item in row] for row in unpack_strings(packed, lengths).tolist()]


def test_strings_are_text_for_the_model_and_packed_for_triton(tmp_path: Path) -> None:
    model = load(tmp_path, "Upper", *TEXT, strings=STRINGS)
    # Joined for the model, although their widths differ, and apart again.
    first, second = outcomes(model.execute([texts(["ä".encode(), b"b"]), texts([b"a longer one", b""], [b"c", b"d"])]))
    assert answered(first) == [["Äé", "Bé"]]
    assert answered(second) == [["A LONGER ONEé", "é"], ["Cé", "Dé"]]


def test_a_model_may_be_given_none(tmp_path: Path) -> None:
    model = load(tmp_path, "SaysNone", *TEXT, strings=STRINGS)
    (outcome,) = outcomes(model.execute([texts([None, b""])]))
    assert answered(outcome) == [["None", "''"]]


def test_names_that_are_not_packed_strings_are_tensors_of_their_own(tmp_path: Path) -> None:
    model = load(tmp_path, "Keys", TEXT[0])
    arrays: dict[str, Any] = {"x.bytes": np.zeros((1, 5), np.uint8), "x.lengths": np.zeros((1, 2), np.int32)}
    assert outcomes(model.execute([request("", **arrays)])) == [{"y": [[2.0]]}]


def test_a_native_client_with_bad_text_gets_a_models_error(tmp_path: Path) -> None:
    model = load(tmp_path, "Upper", *TEXT, strings=STRINGS)
    damaged = texts([b"a", b"b"])
    damaged.tensors[1] = pb.Tensor("x.lengths", np.array([[1, 5]], np.int32))
    good, bad = texts([b"a", b"b"]), texts([b"a", b"\xff"])
    first, second, third, fourth = outcomes(model.execute([good, damaged, bad, good]))
    assert answered(first) == answered(fourth) == [["Aé", "Bé"]]
    assert second == (
        "[schwift:model_error] tensor x cannot be read: the lengths of its strings do not fit its 2 bytes"
    )
    assert third.startswith("[schwift:model_error] UnicodeDecodeError")
    assert outcomes(model.execute([damaged])) == [second]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Broken", "[schwift:model_error] OSError: /srv/secret is not there"),
        ("Exits", "[schwift:model_error] SystemExit: 3"),
        ("Absent", "[schwift:model_error] AttributeError: module 'users_script' has no attribute 'Absent'"),
    ],
)
def test_a_model_that_cannot_be_built_says_why_and_logs_the_rest(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(tmp_path, name)
    assert str(caught.value) == said
    # Triton prints the chain of causes, which would be the traceback again.
    assert caught.value.__suppress_context__
    assert any("Traceback" in line for line in pb.Logger.lines)


def test_threads_are_limited_before_the_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_model, "available_cores", lambda: 8)
    load(tmp_path, instances="2", max_workers="6")
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_its_process_ends_without_a_collection_of_all_that_its_libraries_made(tmp_path: Path) -> None:
    model, before = runtime_model.TritonPythonModel(), gc.get_freeze_count()
    made: list[object] = [[] for _ in range(1000)]
    try:
        model.finalize()
        assert gc.get_freeze_count() >= before + len(made)
    finally:
        gc.unfreeze()
