"""The Python-based backend `onnxruntime`, with real graphs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.models.runtime_models import TensorLike, config_json, init_args, outcomes, request, rows
from triton_repo_template.runtime.errors import ModelError
from triton_repo_template.runtime.model import TritonPythonModel as PythonModel
from triton_repo_template.runtime.onnx_model import TritonPythonModel
from triton_repo_template.runtime.packed_strings import pack_strings

FLOAT, TEXT, INT64 = TensorProto.FLOAT, TensorProto.STRING, TensorProto.INT64


def save(path: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Each input and output as (name, type, shape)."""
    taken, given = ([helper.make_tensor_value_info(*item) for item in items] for items in (inputs, outputs))
    graph = helper.make_graph(list(nodes), "g", taken, given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def load(
    folder: Path,
    inputs: Sequence[TensorLike] = (("x", "float32", (2,)),),
    outputs: Sequence[TensorLike] = (("y", "float32", ()),),
    filename: str = "",
    max_batch_size: int = 8,
    **parameters: str,
) -> TritonPythonModel:
    model = TritonPythonModel()
    model.initialize(init_args(folder, config_json(inputs, outputs, filename, max_batch_size, **parameters)))
    return model


def save_sum(path: Path) -> None:
    """y = the sum of each row, of rank 1 as skl2onnx writes labels."""
    axes = helper.make_node("Constant", [], ["axes"], value=helper.make_tensor("a", INT64, [1], [1]))
    total = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    save(path, [axes, total], [("x", FLOAT, ["N", 2])], [("y", FLOAT, ["N"])])


def test_a_rank_one_output_is_a_value_a_row(tmp_path: Path) -> None:
    save_sum(tmp_path / "1" / "model.onnx")
    model = load(tmp_path, [("x", "float32", (2,))], [("y", "float32", ())])
    responses = model.execute([rows([1, 2]), rows([3, 4], [5, 6])])
    assert outcomes(responses) == [{"y": [3.0]}, {"y": [7.0, 11.0]}]


def test_the_file_of_the_config_is_loaded(tmp_path: Path) -> None:
    save_sum(tmp_path / "1" / "other.onnx")
    likes = [("x", "float32", (2,))], [("y", "float32", ())]
    assert outcomes(load(tmp_path, *likes, filename="other.onnx").execute([rows([1, 2])])) == [{"y": [3.0]}]
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot load model\.onnx"):
        load(tmp_path, *likes)


def test_a_graph_that_needs_a_locale_says_which(tmp_path: Path) -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="xx_XX.UTF-8")
    save(tmp_path / "1" / "model.onnx", [node], [("x", TEXT, ["N"])], [("y", TEXT, ["N"])])
    with pytest.raises(ModelError, match=r"model\.onnx needs the locale xx_XX\.UTF-8, which is not here: install it"):
        load(tmp_path, [("x", "object", ())], [("y", "object", ())])


def test_strings_pass_through_a_graph(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    save(tmp_path / "1" / "model.onnx", [node], [("x", TEXT, ["N", 2])], [("y", TEXT, ["N", 2])])
    model = load(tmp_path, [("x", "object", (2,))], [("y", "object", (2,))])
    first, second = np.array([["é☃".encode(), b""]], object), np.array([[b"a", b"b"]], object)
    responses = model.execute([request(x=first), request(x=second)])
    assert outcomes(responses) == [{"y": [["é☃".encode(), b""]]}, {"y": [[b"a", b"b"]]}]


def test_a_graph_with_strings_is_served_by_the_python_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Cast", ["n"], ["z"], to=FLOAT)]
    inputs, outputs = [("x", TEXT, ["N", 1]), ("n", INT64, ["N", 1])], [("y", TEXT, ["N", 1]), ("z", FLOAT, ["N", 1])]
    save(tmp_path / "1" / "sub" / "graph.onnx", nodes, inputs, outputs)
    packed_x = [("x.bytes", "uint8", (-1,)), ("x.lengths", "int32", (1,))]
    packed_y = [("y.bytes", "uint8", (-1,)), ("y.lengths", "int32", (1,))]

    def served(dtype: str) -> PythonModel:
        model = PythonModel()
        config = config_json([*packed_x, ("n", "int64", (1,))], [*packed_y, ("z", dtype, (1,))], strings='["x", "y"]',
                             kind="onnx", model_file="sub/graph.onnx")  # fmt: skip
        model.initialize(init_args(tmp_path, config))
        return model

    packed, lengths = pack_strings(np.array([["é".encode()], [b"b"]], object))
    asked = request("", **{"x.bytes": packed, "x.lengths": lengths, "n": np.array([[3], [4]])})
    assert outcomes(served("float32").execute([asked])) == [
        {"y.bytes": packed.tolist(), "y.lengths": lengths.tolist(), "z": [[3.0], [4.0]]}
    ]
    assert outcomes(served("float64").execute([asked])) == [
        "[schwift:bad_model_output] output z is float32, and the config says float64"
    ]


def test_several_inputs_and_outputs_go_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["plus"]), helper.make_node("Sub", ["a", "b"], ["minus"])]
    values = [(name, FLOAT, ["N", 1]) for name in ("a", "b", "plus", "minus")]
    save(tmp_path / "1" / "model.onnx", nodes, values[:2], values[2:])
    likes = [("b", "float32", (1,)), ("a", "float32", (1,))], [("minus", "float32", (1,)), ("plus", "float32", (1,))]
    a, b = np.array([[5]], np.float32), np.array([[2]], np.float32)
    assert outcomes(load(tmp_path, *likes).execute([request(a=a, b=b)])) == [{"minus": [[3.0]], "plus": [[7.0]]}]


def save_gather(path: Path) -> None:
    """y = the x-th of three words; a graph that fails for any other x."""
    words = helper.make_tensor("words", FLOAT, [3], [10.0, 20.0, 30.0])
    nodes = [helper.make_node("Constant", [], ["w"], value=words), helper.make_node("Gather", ["w", "x"], ["y"])]
    save(path, nodes, [("x", INT64, ["N", 1])], [("y", FLOAT, ["N", 1])])


def test_a_row_that_the_graph_refuses_is_its_own_requests_error(tmp_path: Path) -> None:
    save_gather(tmp_path / "1" / "model.onnx")
    model = load(tmp_path, [("x", "int64", (1,))], [("y", "float32", (1,))])
    first, second, third = outcomes(model.execute([rows([i], dtype="int64") for i in (0, 7, 2)]))
    assert (first, third) == ({"y": [[10.0]]}, {"y": [[30.0]]})
    assert second.startswith("[schwift:model_error] ")
    assert "Traceback" not in second


@pytest.mark.parametrize("like", [("y", "float32", (3,)), ("y", "int32", ())], ids=str)
def test_an_output_of_another_shape_or_dtype_than_the_config_is_a_bad_output(tmp_path: Path, like: TensorLike) -> None:
    save_sum(tmp_path / "1" / "model.onnx")
    (said,) = outcomes(load(tmp_path, outputs=[like]).execute([rows([1, 2])]))
    assert isinstance(said, str), f"answered with {said}"
    assert said.startswith("[schwift:bad_model_output] ")


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x08"])
def test_a_file_that_is_no_graph_is_refused_by_name_without_a_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot load model\.onnx: ") as caught:
        load(tmp_path)
    assert caught.value.__suppress_context__


def save_heavy(path: Path) -> None:
    """y = the sum of a chain of products that takes milliseconds for each row."""
    size = 512
    weights = helper.make_tensor("w", FLOAT, [size, size], [0.0] * size * size)
    nodes = [helper.make_node("Constant", [], ["weights"], value=weights)]
    nodes += [helper.make_node("MatMul", [f"x{i}" if i else "x", "weights"], [f"x{i + 1}"]) for i in range(40)]
    nodes += [helper.make_node("Identity", ["x40"], ["y"])]
    save(path, nodes, [("x", FLOAT, ["N", size])], [("y", FLOAT, ["N", size])])


def threads() -> int:
    """This process's."""
    return len(list(Path("/proc/self/task").iterdir()))


HEAVY = ("x", "float32", (512,)), ("y", "float32", (512,))


@pytest.mark.parametrize(("asked", "given"), [("1", 1), ("3", 3), ("64", 4)])
def test_threads_are_the_configs_within_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, given: int
) -> None:
    monkeypatch.setattr("triton_repo_template.runtime.onnx_model.available_cores", lambda: 4)
    save_heavy(tmp_path / "1" / "model.onnx")
    before = threads()
    model = load(tmp_path, HEAVY[:1], HEAVY[1:], intra_op_thread_count=asked)
    # The one that calls is one of them.
    assert threads() - before == given - 1, model


def test_a_graph_that_is_quick_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triton_repo_template.runtime.onnx_model.available_cores", lambda: 4)
    save_sum(tmp_path / "1" / "model.onnx")
    before = threads()
    model = load(tmp_path, intra_op_thread_count="2")
    assert threads() == before
    assert outcomes(model.execute([rows([1, 2])])) == [{"y": [3.0]}]


@pytest.mark.parametrize(
    ("inputs", "rows_a_call"),
    [
        # Zeros of a free axis cannot be made, and so many are not.
        ((("x", "int64", (-1,)),), 4),
        ((("x", "int64", (1,)),), 200_000),
    ],
    ids=["a free axis", "a call of more than a megabyte"],
)
def test_where_a_trial_says_nothing_the_configs_threads_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: Sequence[TensorLike], rows_a_call: int
) -> None:
    monkeypatch.setattr("triton_repo_template.runtime.onnx_model.available_cores", lambda: 4)
    save_gather(tmp_path / "1" / "model.onnx")
    before = threads()
    model = load(tmp_path, inputs, [("y", "float32", (1,))], max_batch_size=rows_a_call, intra_op_thread_count="2")
    assert threads() - before == 1, model


def test_a_graph_that_refuses_the_trial_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triton_repo_template.runtime.onnx_model.available_cores", lambda: 4)
    # Only the words from the second on.
    words = helper.make_tensor("words", FLOAT, [1], [10.0])
    shift = helper.make_tensor("two", INT64, [1], [2])
    nodes = [
        helper.make_node("Constant", [], ["w"], value=words),
        helper.make_node("Constant", [], ["t"], value=shift),
        helper.make_node("Sub", ["x", "t"], ["i"]),
        helper.make_node("Gather", ["w", "i"], ["y"]),
    ]
    save(tmp_path / "1" / "model.onnx", nodes, [("x", INT64, ["N", 1])], [("y", FLOAT, ["N", 1])])
    before = threads()
    model = load(tmp_path, [("x", "int64", (1,))], [("y", "float32", (1,))], intra_op_thread_count="2")
    assert threads() - before == 1
    assert outcomes(model.execute([rows([2], dtype="int64")])) == [{"y": [[10.0]]}]
