"""null and flat lists of texts: what the codec makes of them, and when it refuses them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from adapter.codec.decode_helper import decode
from adapter.codec.helper_messages import PartOf
from adapter.errors import BadFeatures
from tests.support.codecs import Coded
from tests.support.fakes.entries import TensorLike, make_entry

TEXT: TensorLike = ("x", "string", ())


def decoded(features: Any, *inputs: TensorLike, nullable: str = "") -> Any:
    codec = Coded(make_entry(inputs=inputs, nullable=nullable.split()))
    return codec.decode(json.dumps({"features": features}).encode())


def refusal(features: Any, *inputs: TensorLike, nullable: str = "", **keys: Any) -> str:
    codec = Coded(make_entry(inputs=inputs, nullable=nullable.split(), **keys))
    with pytest.raises(BadFeatures) as caught:
        codec.decode(json.dumps({"features": features}).encode())
    return caught.value.detail


@pytest.mark.parametrize("features", [["a", "b"], [["a"], ["b"]]])
def test_a_flat_list_of_texts_is_a_list_of_rows(features: Any) -> None:
    assert decoded(features, TEXT)["x"].tolist() == [[b"a"], [b"b"]]


def test_a_flat_list_is_one_row_of_any_other_input() -> None:
    assert decoded(["a"], ("x", "string", (1,)))["x"].tolist() == [[b"a"]]
    assert refusal(["a", "b"], ("x", "string", (1,))) == "features[0] has 2 values, and the model takes 1."


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (["a", 1], "features[1]: expected a string, got an integer."),
        ([["a"], [1]], "features[1][0]: expected a string, got an integer."),
        ([["a", "b"]], "features[0] has 2 values, and the model takes 1."),
        ([], "features has no rows."),
        (["a", None], "features[1]: expected a string, got null, which `nullable: true` in its model_config.yaml "
         "would allow."),
    ],
)  # fmt: skip
def test_texts_that_are_none_are_named(features: Any, said: str) -> None:
    assert refusal(features, TEXT) == said


def test_texts_beside_other_inputs_are_flat_or_not() -> None:
    other: TensorLike = ("n", "int64", (2,))
    for texts in (["a", "b"], [["a"], ["b"]]):
        arrays = decoded({"x": texts, "n": [[1, 2], [3, 4.0]]}, TEXT, other)
        assert arrays["x"].tolist() == [[b"a"], [b"b"]]
        assert arrays["n"].tolist() == [[1, 2], [3, 4]]


def test_texts_may_be_missing() -> None:
    assert decoded(["a", None, ""], TEXT, nullable="x")["x"].tolist() == [[b"a"], [None], [b""]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_null_is_nan_among_floats(dtype: str) -> None:
    array = decoded([[1, None], [None, 2.5]], ("x", dtype, (2,)), nullable="x")["x"]
    assert array.dtype == np.dtype(dtype)
    np.testing.assert_equal(array, [[1, np.nan], [np.nan, 2.5]])


def test_integers_that_may_be_missing_are_float64() -> None:
    array = decoded([[1, None], [2.0, -(2**53) + 1]], ("x", "int64", (2,)), nullable="x")["x"]
    assert array.dtype == np.float64
    np.testing.assert_equal(array, [[1, math.nan], [2, -(2**53) + 1]])


@pytest.mark.parametrize(
    ("dtype", "features", "said"),
    [
        ("int64", [[1, None], [2**53, 1]], "features[1][0]: expected an integer, got a number with a fraction, or of"),
        (
            "int64",
            [[1, 1.5]],
            "features[0][1]: expected an integer, got a number with a fraction, or of 2**53 or more.",
        ),
        ("int64", [[1, 10**400]], "features[0][1]: the number does not fit float64"),
        ("int8", [[None, 128]], "features[0][1]: the number does not fit int8, which the model takes."),
        ("uint8", [[None, -1]], "features[0][1]: the number does not fit uint8, which the model takes."),
        ("float32", [[None, 1e39]], "features[0][1]: the number does not fit float32, which the model takes."),
        ("int8", [[None, "1"]], "features[0][1]: expected an integer, got a string."),
    ],
)
def test_beside_null_the_first_number_that_does_not_fit_is_named(dtype: str, features: Any, said: str) -> None:
    assert refusal(features, ("x", dtype, (2,)), nullable="x").startswith(said)


@pytest.mark.parametrize(
    ("backend", "dtype", "hint"),
    [("python", "int64", True), ("python", "string", True), ("python", "bool", False),
     ("torch", "float32", True), ("torch", "int64", False)],
)  # fmt: skip
def test_the_key_is_named_where_it_would_help(backend: str, dtype: str, hint: bool) -> None:
    keys: dict[str, Any] = {} if backend == "python" else {"backend": backend, "model_args": {"model_file": "m.pt"}}
    said = refusal([[None, None]], ("x", dtype, (2,)), **keys)
    assert said.startswith("features[0][0]: expected ")
    assert ("nullable: true" in said) is hint


def test_only_the_input_that_says_so_takes_null() -> None:
    inputs: tuple[TensorLike, TensorLike] = (("a", "float32", (1,)), ("b", "float32", (1,)))
    arrays = decoded({"a": [[None]], "b": [[1]]}, *inputs, nullable="a")
    assert math.isnan(arrays["a"][0][0])
    assert refusal({"a": [[None]], "b": [[None]]}, *inputs, nullable="a").startswith("features.b[0][0]: expected")


def test_rows_with_null_are_joined_with_others() -> None:
    parser = Coded(make_entry(inputs=[("x", "int8", (1,))], nullable=["x"])).codec.request
    requests = [parser.parse(json.dumps({"features": rows}).encode()) for rows in ([[1]], [[None]], [[2.0], [3]])]
    np.testing.assert_equal(parser.to_arrays(requests)["x"], [[1], [math.nan], [2], [3]])


def test_the_helper_gives_back_what_is_missing() -> None:
    entry = make_entry(inputs=[("a", "int64", (1,)), ("b", "string", (1,))], nullable=["a", "b"])
    body = json.dumps({"features": {"a": [[None], [2]], "b": [["x"], [None]]}}).encode()
    head, pieces = decode(Coded(entry).codec.request, body)
    assert head.parts[0] == PartOf("<f8", [2, 1], [16])
    np.testing.assert_equal(np.frombuffer(pieces[0]), [math.nan, 2])
    assert b"\xc0" in b"".join(pieces[1:])
