"""What a model may return, and what is said of what it may not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse  # type: ignore[import-untyped]  # ships no types
import torch

from triton_repo_template.runtime.config import TensorConfig
from triton_repo_template.runtime.conform import conform, decode_text, encode_text
from triton_repo_template.runtime.errors import BadModelOutput


def out(dtype: str = "float32", dims: tuple[int, ...] = (2,), name: str = "y") -> TensorConfig:
    return TensorConfig(name, dtype, dims)


def one(value: Any, output: TensorConfig, rows: int = 2) -> Any:
    return conform(value, [output], rows)[output.name]


def assert_array(array: Any, dtype: str, values: Any) -> None:
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == values


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.array([[1, 2], [3, 4]], np.float64),
        np.array([[1, 2], [3, 4]], np.int64),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
        scipy.sparse.csr_matrix(np.array([[1, 2], [3, 4]])),
        {"y": [[1, 2], [3, 4]], "unasked": None},
    ],
    ids=["lists", "tuples", "float64", "int64", "torch", "sparse", "mapping"],
)
def test_every_usual_kind_of_answer_becomes_the_promised_array(value: Any) -> None:
    assert_array(one(value, out()), "float32", [[1.0, 2.0], [3.0, 4.0]])


def test_what_fits_already_is_not_copied() -> None:
    array = np.zeros((2, 2), np.float32)
    assert one(array, out()) is array


def test_a_value_a_row_is_a_row_of_one() -> None:
    assert_array(one([7, 8], out("int64", (1,))), "int64", [[7], [8]])
    assert_array(one([7, 8], out("int64", ())), "int64", [7, 8])
    assert_array(one([[7], [8]], out("int64", (-1,))), "int64", [[7], [8]])


def test_free_axes_and_higher_ranks() -> None:
    assert one(np.zeros((2, 5, 3)), out(dims=(-1, 3))).shape == (2, 5, 3)


@pytest.mark.parametrize(
    ("value", "output", "message"),
    [
        (None, out(), "output y is None"),
        ([[1, 2], [3]], out(), "output y is ragged: its rows differ in length"),
        (5, out(), "output y has no rows, and the input 2"),
        ("text", out("object"), "output y has no rows, and the input 2"),
        ([[1, 2]], out(), "output y has 1 rows, and the input 2"),
        ([1, 2, 3], out(dims=(1,)), "output y has 3 rows, and the input 2"),
        ([1, 2], out(), "output y has rows of shape [], and the config says [2]"),
        ([[1, 2, 3], [4, 5, 6]], out(), "output y has rows of shape [3], and the config says [2]"),
        ([[1], [2]], out(dims=()), "output y has rows of shape [1], and the config says []"),
        (np.zeros((2, 2, 2)), out(dims=(-1, 3)), "output y has rows of shape [2, 2], and the config says [-1, 3]"),
        ([["a", "b"], ["c", "d"]], out(), "output y is <U1, and the config says float32"),
        (np.array([[1, None]] * 2), out(), "output y is object, and the config says float32"),
        (np.array([[1j, 2]] * 2), out(), "output y is complex128, and the config says float32"),
        (np.array([["2020-01-01"] * 2] * 2, "M8[D]"), out("int64"), "output y is datetime64[D], and the config says"),
        ([[0.5, 1], [1, 1]], out("bool"), "output y is float64, and the config says bool"),
        ([[2.5, 1], [1, 1]], out("int64"), "output y has values that int64 cannot hold"),
        ([[np.nan, 1], [1, 1]], out("int64"), "output y has values that int64 cannot hold"),
        ([[np.inf, 1], [1, 1]], out("int32"), "output y has values that int32 cannot hold"),
        ([[300, 1], [1, 1]], out("uint8"), "output y has values that uint8 cannot hold"),
        ([[-1, 1], [1, 1]], out("uint64"), "output y has values that uint64 cannot hold"),
        (np.array([[2**63, 1]] * 2, np.uint64), out("int64"), "output y has values that int64 cannot hold"),
        (np.array([[200, 1]] * 2, np.uint8), out("int8"), "output y has values that int8 cannot hold"),
        ([[1, 2], [3, 4]], out("object"), "output y is int64, and the config says string"),
        (np.array([["a", 1]] * 2, object), out("object"), "output y holds a int, and the config says string"),
        (np.array([["a", None]] * 2, object), out("object"), "output y holds a NoneType, and the config says string"),
        ({"z": [[1, 2]]}, out(), "the model's answer has no y"),
    ],
)
def test_what_differs_is_said_in_one_sentence(value: Any, output: TensorConfig, message: str) -> None:
    with pytest.raises(BadModelOutput, match=re.escape(f"[schwift:bad_model_output] {message}")):
        one(value, output)


@pytest.mark.parametrize(
    ("value", "dtype", "values"),
    [
        ([[2.0, 3], [4, 5]], "int64", [[2, 3], [4, 5]]),
        ([[255.0, 0]] * 2, "uint8", [[255, 0]] * 2),
        (np.array([[True, False]] * 2), "int64", [[1, 0]] * 2),
        (np.array([[True, False]] * 2), "float32", [[1.0, 0.0]] * 2),
        (np.array([[-1, 127]] * 2, np.int64), "int8", [[-1, 127]] * 2),
        (np.array([[1, 2]] * 2, np.uint64), "int64", [[1, 2]] * 2),
        ([[np.nan, np.inf]] * 2, "float64", None),
    ],
)
def test_a_cast_that_changes_no_value_is_made(value: Any, dtype: str, values: Any) -> None:
    array = one(value, out(dtype))
    if values is None:
        assert np.isnan(array[:, 0]).all()
        assert np.isinf(array[:, 1]).all()
    else:
        assert_array(array, dtype, values)


def test_strings_become_utf8_bytes() -> None:
    assert_array(one([["é", "b"], ["", "d"]], out("object")), "object", [["é".encode(), b"b"], [b"", b"d"]])
    assert_array(
        one(np.array([[b"a", "\U0001f600"]], object), out("object"), 1), "object", [[b"a", b"\xf0\x9f\x98\x80"]]
    )
    assert_array(one(["a", "b"], out("object", (1,))), "object", [[b"a"], [b"b"]])


def test_text_is_decoded_for_models_and_encoded_again() -> None:
    raw = np.array([["é".encode(), b""], [b"a\x00b", b"c"]], object)
    text = decode_text(raw)
    assert text.tolist() == [["é", ""], ["a\x00b", "c"]]
    assert encode_text(text, "y").tolist() == raw.tolist()
    assert decode_text(np.empty((0, 2), object)).shape == (0, 2)


TWO = [out("int64", (1,), "label"), out("float32", (2,), "score")]


@pytest.mark.parametrize(
    "result",
    [
        ([1, 2], [[0, 1], [1, 0]]),
        [[1, 2], [[0, 1], [1, 0]]],
        {"score": [[0, 1], [1, 0]], "label": [[1], [2]]},
    ],
    ids=["tuple", "list", "mapping"],
)
def test_several_outputs_come_in_order_or_by_name(result: Any) -> None:
    arrays = conform(result, TWO, 2)
    assert list(arrays) == ["label", "score"]
    assert_array(arrays["label"], "int64", [[1], [2]])
    assert_array(arrays["score"], "float32", [[0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "the model's answer has no label, score"),
        ({"label": [1, 2]}, "the model's answer has no score"),
        ([[1, 2]], "the model must answer with label, score: a mapping, or a tuple in this order"),
        (np.zeros((2, 2)), "the model must answer with label, score: a mapping, or a tuple in this order"),
        (([1, 2], [[0, 1]]), "output score has 1 rows, and the input 2"),
    ],
)
def test_several_outputs_must_all_be_there(result: Any, message: str) -> None:
    with pytest.raises(BadModelOutput, match=re.escape(message)):
        conform(result, TWO, 2)
