"""Answers: what the codec writes, and what it does not let pass."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest

from adapter.errors import BadModelOutput
from converter.schema import dtypes
from tests.support.codecs import Coded
from tests.support.fakes.entries import TensorLike, make_entry


def codec_of(*outputs: TensorLike, **spec: Any) -> Coded:
    return Coded(make_entry(outputs=outputs, **spec))


def encode(dtype: str, values: Any, **spec: Any) -> bytes:
    array = np.array(values, dtype=dtypes.by_name(dtype).numpy)
    return codec_of(("y", dtype, array.shape[1:]), **spec).encode({"y": array})


def test_the_answer_has_the_models_name_and_a_list_of_rows() -> None:
    assert encode("float64", [[0.95, 0.05]]) == b'{"model":"m","predictions":[[0.95,0.05]]}'


def test_float32_is_printed_with_the_fewest_digits_that_give_it_back() -> None:
    assert encode("float32", [[0.1, 1 / 3]]) == b'{"model":"m","predictions":[[0.1,0.33333334]]}'


@pytest.mark.parametrize(
    ("dtype", "values", "text"),
    [
        ("float16", [[0.5]], "[[0.5]]"),
        ("int8", [[-128, 127]], "[[-128,127]]"),
        ("int16", [[-5]], "[[-5]]"),
        ("int32", [[-5]], "[[-5]]"),
        ("int64", [[2**63 - 1]], "[[9223372036854775807]]"),
        ("uint8", [[255]], "[[255]]"),
        ("uint16", [[65535]], "[[65535]]"),
        ("uint32", [[2**32 - 1]], "[[4294967295]]"),
        ("uint64", [[2**64 - 1]], "[[18446744073709551615]]"),
        ("bool", [[True, False]], "[[true,false]]"),
        ("float32", [[[1, 2], [3, 4]]], "[[[1.0,2.0],[3.0,4.0]]]"),
    ],
)
def test_each_dtype_is_written_as_its_kind_of_json(dtype: str, values: Any, text: str) -> None:
    assert encode(dtype, values) == f'{{"model":"m","predictions":{text}}}'.encode()


def test_an_array_in_any_memory_order_is_written_by_rows() -> None:
    array = np.asfortranarray(np.array([[1, 2], [3, 4], [5, 6]], np.float64))
    assert b"[[1.0,2.0],[3.0,4.0],[5.0,6.0]]" in codec_of(("y", "float64", (2,))).encode({"y": array})


def test_strings_are_written_as_text() -> None:
    array = np.array([["é\U0001f600".encode(), b'"quoted"\n'], [b"", b"a\x00b"]], dtype=object)
    answer = json.loads(codec_of(("y", "string", (2,))).encode({"y": array}))
    assert answer["predictions"] == [["é\U0001f600", '"quoted"\n'], ["", "a\x00b"]]


def test_a_string_that_is_not_utf8_is_a_bad_output() -> None:
    array = np.array([[b"\xff"]], dtype=object)
    with pytest.raises(BadModelOutput) as caught:
        codec_of(("y", "string", (1,))).encode({"y": array})
    assert caught.value.inside == "a string is not UTF-8"


def test_several_outputs_are_an_object_in_the_configs_order() -> None:
    codec = codec_of(("label", "int64", (1,)), ("score", "float32", (2,)))
    body = codec.encode({"score": np.array([[0.5, 0.25]], np.float32), "label": np.array([[3]])})
    assert body == b'{"model":"m","predictions":{"label":[[3]],"score":[[0.5,0.25]]}}'


def test_non_finite_null_writes_null() -> None:
    values = [[np.nan, 1.0], [np.inf, -np.inf]]
    codec = codec_of(("y", "float32", (2,)), non_finite=None)
    codec.check({"y": np.array(values, np.float32)}, 2)
    assert orjson.loads(encode("float32", values, non_finite=None))["predictions"] == [[None, 1.0], [None, None]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_a_bad_output(dtype: str, number: float) -> None:
    with pytest.raises(BadModelOutput) as caught:
        codec_of(("y", dtype, (2,))).check({"y": np.array([[1, number]], dtype)}, 1)
    assert caught.value.inside == "the answer has NaN or Infinity"
    assert caught.value.detail == "The model's answer is not what its config promises."


@pytest.mark.parametrize(
    ("outputs", "inside"),
    [
        ({}, "output y is missing"),
        ({"z": np.zeros((2, 3), np.float32)}, "output y is missing"),
        ({"y": np.zeros((2, 3), np.float64)}, "output y is float64, not float32"),
        ({"y": np.zeros((2, 3), object)}, "output y is object, not float32"),
        ({"y": np.zeros((1, 3), np.float32)}, "output y is (1, 3), not (2, 3)"),
        ({"y": np.zeros((3, 3), np.float32)}, "output y is (3, 3), not (2, 3)"),
        ({"y": np.zeros((2, 4), np.float32)}, "output y is (2, 4), not (2, 3)"),
        ({"y": np.zeros((2,), np.float32)}, "output y is (2,), not (2, 3)"),
        ({"y": np.zeros((2, 3, 1), np.float32)}, "output y is (2, 3, 1), not (2, 3)"),
        ({"y": np.float32(0)}, "output y is (), not (2, 3)"),
    ],
)
def test_what_the_config_does_not_promise_is_a_bad_output(outputs: Any, inside: str) -> None:
    with pytest.raises(BadModelOutput) as caught:
        codec_of(("y", "float32", (3,))).check(outputs, 2)
    assert caught.value.inside == inside


def test_every_output_is_checked() -> None:
    codec = codec_of(("a", "float32", (1,)), ("b", "int64", (1,)))
    good = np.zeros((1, 1), np.float32)
    codec.check({"a": good, "b": np.zeros((1, 1), np.int64)}, 1)
    with pytest.raises(BadModelOutput, match="config promises") as caught:
        codec.check({"a": good, "b": np.zeros((2, 1), np.int64)}, 1)
    assert caught.value.inside == "output b is (2, 1), not (1, 1)"


def test_a_free_axis_of_an_output_is_any_size() -> None:
    codec = codec_of(("y", "float32", (-1, 2)))
    for size in (0, 1, 7):
        codec.check({"y": np.zeros((3, size, 2), np.float32)}, 3)
    with pytest.raises(BadModelOutput):
        codec.check({"y": np.zeros((3, 7, 3), np.float32)}, 3)


@pytest.mark.parametrize("dtype", [dtype.name for dtype in dtypes.DTYPES])
@pytest.mark.parametrize("dims", [(1,), (4,), (-1,), (2, 3), (-1, 2), (784,), ()])
def test_the_example_of_every_input_is_taken_by_its_codec(dtype: str, dims: tuple[int, ...]) -> None:
    like = ("x", dtype, dims)
    codec = Coded(make_entry(inputs=[like]))
    rows = codec.codec.request.example_features(2)
    arrays = codec.decode(json.dumps({"features": rows}).encode())
    assert arrays["x"].shape == (2, *(abs(size) for size in dims or (1,)))
