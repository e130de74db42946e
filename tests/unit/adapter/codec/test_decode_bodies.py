"""Requests: what the codec takes, and what it says of what it does not take."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from adapter.codec.encode import Arrays
from adapter.errors import AdapterError, BadFeatures, MalformedJson
from tests.support.codecs import Coded, rows_of
from tests.support.fakes.entries import TensorLike, make_entry

DEEP = 100_000
NULL_HINT = ", which `nullable: true` in its model_config.yaml would allow"


def codec_of(*inputs: TensorLike) -> Coded:
    return Coded(make_entry(inputs=inputs))


def decode(dtype: str, features: Any, dims: tuple[int, ...] = (2,)) -> Any:
    """The one input's array for `features`."""
    return codec_of(("x", dtype, dims)).decode(json.dumps({"features": features}).encode())["x"]


def refusal(dtype: str, body: str | bytes, dims: tuple[int, ...] = (2,)) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        codec_of(("x", dtype, dims)).decode(body.encode() if isinstance(body, str) else body)
    return caught.value


def assert_same(array: Any, wanted: Any, dtype: str) -> None:
    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == wanted


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_numbers_become_the_models_dtype(dtype: str) -> None:
    assert_same(decode(dtype, [[1.5, 2], [-0.25, 0]]), [[1.5, 2.0], [-0.25, 0.0]], dtype)


def test_the_readme_example_is_two_rows() -> None:
    array = decode("float32", [[5.1, 3.5, 1.4, 0.2], [7.2, 3.2, 6.0, 1.8]], (4,))
    assert array.shape == (2, 4)
    assert array[1].tolist() == np.array([7.2, 3.2, 6.0, 1.8], np.float32).tolist()


def test_one_flat_list_is_one_row() -> None:
    assert_same(decode("float32", [1, 2.5]), [[1.0, 2.5]], "float32")
    assert_same(decode("int64", [1, 2]), [[1, 2]], "int64")
    assert_same(decode("int64", [1.0, 2]), [[1, 2]], "int64")
    assert_same(decode("string", ["a", "b"]), [[b"a", b"b"]], "object")


def test_one_flat_list_of_a_one_wide_model_is_one_row_not_many() -> None:
    assert_same(decode("float32", [7], (1,)), [[7.0]], "float32")
    assert refusal("float32", '{"features": [7, 8]}', (1,)).detail == (
        "features[0] has 2 values, and the model takes 1."
    )


def test_rows_of_rank_two_have_no_flat_form() -> None:
    error = refusal("float32", '{"features": [[1, 2], [3, 4]]}', (2, 2))
    assert isinstance(error, BadFeatures)
    assert error.detail == "features[0][0]: expected a list, got an integer."


def test_three_dimensions() -> None:
    features = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    assert_same(decode("float64", features, (2, 3)), features, "float64")


@pytest.mark.parametrize(
    ("features", "detail"),
    [
        ([[[1, 2, 3]]], "features[0] has 1 values, and the model takes 2."),
        ([[[1, 2, 3], [4, 5]]], "features[0][1] has 2 values, and the model takes 3."),
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], []]], "features[1][1] has 0 values, and the model takes 3."),
    ],
)
def test_a_ragged_inner_axis_is_named(features: Any, detail: str) -> None:
    error = refusal("float32", json.dumps({"features": features}), (2, 3))
    assert isinstance(error, BadFeatures)
    assert error.detail == detail


def test_a_free_axis_takes_the_first_rows_width() -> None:
    assert decode("float32", [[1, 2, 3], [4, 5, 6]], (-1,)).shape == (2, 3)
    assert decode("float32", [1, 2, 3, 4], (-1,)).shape == (1, 4)
    assert decode("float32", [[[1, 2], [3, 4], [5, 6]]], (-1, 2)).shape == (1, 3, 2)
    assert decode("string", [[["a"], ["b"]]], (-1, -1)).shape == (1, 2, 1)


@pytest.mark.parametrize(
    ("features", "dims", "detail"),
    [
        ([[1, 2], [3]], (-1,), "features[1] has 1 values, and the model takes 2."),
        ([[]], (-1,), "features[0] has 0 values, and the model takes at least 1."),
        ([[]], (-1, -1), "features[0] has 0 values, and the model takes at least 1."),
        ([[[]]], (-1, -1), "features[0][0] has 0 values, and the model takes at least 1."),
        ([[[1], [2]], [[3]]], (-1, 1), "features[1] has 1 values, and the model takes 2."),
    ],
)
def test_rows_of_a_free_axis_must_be_alike(features: Any, dims: tuple[int, ...], detail: str) -> None:
    assert refusal("float32", json.dumps({"features": features}), dims).detail == detail


@pytest.mark.parametrize("dtype", ["float32", "int64", "string", "bool", "uint8"])
@pytest.mark.parametrize(
    "body",
    [
        "[" * DEEP,
        '{"features":' + "[" * DEEP + "]" * DEEP + "}",
        '{"x":' + "[" * DEEP + "]" * DEEP + ',"features":[[1,2]]}',
        '{"x":' + '{"a":' * DEEP + "1" + "}" * DEEP + ',"features":[[1,2]]}',
    ],
    ids=["open", "features", "other list", "other object"],
)
def test_deep_nesting_is_malformed(dtype: str, body: str) -> None:
    error = refusal(dtype, body)
    assert isinstance(error, MalformedJson)
    assert error.detail == "The body is nested too deeply."


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "string", "bool"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "-" + "9" * 5000])
def test_what_json_or_a_double_cannot_hold_is_malformed(dtype: str, number: str) -> None:
    assert isinstance(refusal(dtype, f'{{"features": [[{number}, 1]]}}'), MalformedJson)


@pytest.mark.parametrize("rest", ["[0, 0]]}", "]", "", ", 1]} x"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_what_is_no_json_behind_a_number_out_of_range_is_malformed(dtype: str, rest: str) -> None:
    assert type(refusal(dtype, '{"features": [' + "9" * 400 + rest)) is MalformedJson


@pytest.mark.parametrize("number", ["1e999", "9" * 5000])
def test_a_number_out_of_range_is_named_in_our_words(number: str) -> None:
    error = refusal("float32", f'{{"features": [[1, {number}]]}}')
    assert error.detail == "features[0][1]: the number is out of range."


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b'{"features": [[1, 2]]', b'{"features": [[1, 2]]} x', b"{'features': [[1, 2]]}", b"\x00",
     b'\xef\xbb\xbf\xef\xbb\xbf{"features": [[1, 2]]}', b'{\xef\xbb\xbf"features": [[1, 2]]}',
     b'{"features": [[1, 2],]}', b'{"features": [[01, 2]]}'],
)  # fmt: skip
def test_bad_syntax_is_malformed(body: bytes) -> None:
    assert isinstance(refusal("float32", body), MalformedJson)


@pytest.mark.parametrize("dtype", ["float32", "string"])
@pytest.mark.parametrize("raw", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"])
def test_bad_utf8_is_malformed_wherever_it_stands(dtype: str, raw: bytes) -> None:
    error = refusal(dtype, b'{"features": [["' + raw + b'", "a"]]}')
    assert isinstance(error, MalformedJson)
    assert error.detail == "The body is not UTF-8 at byte 16."
    assert isinstance(refusal(dtype, b'{"note": "' + raw + b'", "features": [[1, 2]]}'), MalformedJson)


def test_a_lone_surrogate_is_malformed() -> None:
    assert isinstance(refusal("string", r'{"features": [["\ud800", "a"]]}'), MalformedJson)


@pytest.mark.parametrize(
    ("features", "detail"),
    [
        ("[[1, 2, 3]]", "features[0] has 3 values, and the model takes 2."),
        ("[[1, 2], [3]]", "features[1] has 1 values, and the model takes 2."),
        ("[[1, 2], [3, 4, 5]]", "features[1] has 3 values, and the model takes 2."),
        ("[[1, 2], []]", "features[1] has 0 values, and the model takes 2."),
        ("[]", "features has no rows."),
        ("[[]]", "features[0] has 0 values, and the model takes 2."),
        ('[["1.5", 1]]', "features[0][0]: expected a number, got a string."),
        ("[[1, true]]", "features[0][1]: expected a number, got a boolean."),
        (
            "[[1, 2], [null, 1]]",
            f"features[1][0]: expected a number, got null{NULL_HINT}.",
        ),
        ("[[1, {}]]", "features[0][1]: expected a number, got an object."),
        ("[[1, [2]]]", "features[0][1]: expected a number, got a list."),
        ("[[1, 2], 3]", "features[1]: expected a list, got an integer."),
        ("{}", "features: expected a list, got an object."),
        ('"[[1, 2]]"', "features: expected a list, got a string."),
        ("null", "features: expected a list, got null."),
        ("[[1e39, 1]]", "features[0][0]: the number does not fit float32, which the model takes."),
        ("[[1, 2], [3, -1e39]]", "features[1][1]: the number does not fit float32, which the model takes."),
    ],
)
def test_wrong_features_name_the_first_offender(features: str, detail: str) -> None:
    error = refusal("float32", f'{{"features": {features}}}')
    assert isinstance(error, BadFeatures)
    assert error.detail == detail


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("{}", "The field features is missing."),
        ('{"Features": [[1, 2]]}', "The field features is missing."),
        ("[]", "the body: expected an object, got a list."),
        ("[[1, 2]]", "the body: expected an object, got a list."),
        ("null", "the body: expected an object, got null."),
        ("1", "the body: expected an object, got an integer."),
    ],
)
def test_json_that_is_not_the_object_asked_for(body: str, detail: str) -> None:
    error = refusal("float32", body)
    assert isinstance(error, BadFeatures)
    assert error.detail == detail


def test_the_offender_of_a_flat_row_is_named() -> None:
    assert refusal("float32", '{"features": [1.5, "x"]}').detail == "features[1]: expected a number, got a string."


def test_an_integer_written_as_1_0_is_not_named_as_the_offender() -> None:
    error = refusal("int64", '{"features": [[1.0, "x"]]}')
    assert isinstance(error, BadFeatures)
    assert error.detail.startswith("features[0][1]: ")


@pytest.mark.parametrize("dtype", ["float32", "int64", "string", "bool"])
def test_200_000_bad_items_get_a_short_answer(dtype: str) -> None:
    body = '{"features": [' + ",".join(["[null,null]"] * 100_000) + "]}"
    error = refusal(dtype, body)
    assert isinstance(error, BadFeatures)
    assert error.detail.startswith("features[0][0]: expected ")
    assert len(error.detail.encode()) <= 1024


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_200_000_bad_items_take_at_most_100_ms(dtype: str) -> None:
    body = '{"features": [[' + ",".join(['"x"'] * 200_000) + "]]}"
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        refusal(dtype, body)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1


def test_a_long_key_is_not_echoed() -> None:
    error = refusal("float32", json.dumps({"k" * 100_000: [[1, 2]]}))
    assert len(error.detail.encode()) <= 1024
    assert "kk" not in error.detail


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int8", -128, 127),
        ("int16", -(2**15), 2**15 - 1),
        ("int32", -(2**31), 2**31 - 1),
        ("int64", -(2**63), 2**63 - 1),
        ("uint8", 0, 255),
        ("uint16", 0, 2**16 - 1),
        ("uint32", 0, 2**32 - 1),
        ("uint64", 0, 2**64 - 1),
    ],
)
def test_the_range_of_integers_is_exact(dtype: str, low: int, high: int) -> None:
    assert_same(decode(dtype, [[low, high]]), [[low, high]], dtype)
    assert_same(decode(dtype, [[high, high], [low, low]]), [[high, high], [low, low]], dtype)
    for beyond in (low - 1, high + 1):
        error = refusal(dtype, json.dumps({"features": [[low, high], [high, beyond]]}))
        assert isinstance(error, BadFeatures)
        assert error.detail == f"features[1][1]: the number does not fit {dtype}, which the model takes."


def test_integers_may_be_written_with_a_zero_fraction() -> None:
    assert_same(decode("int64", [[1.0, 2], [-3e2, 4.0]]), [[1, 2], [-300, 4]], "int64")
    assert_same(decode("uint8", [[255.0, -0.0]]), [[255, 0]], "uint8")


@pytest.mark.parametrize(
    ("dtype", "features", "place"),
    [
        ("int64", "[[1, 2.5]]", "features[0][1]: expected an integer"),
        ("int64", "[[1.0, 2], [1e300, 1]]", "features[1][0]: expected an integer"),
        ("uint8", "[[256.0, 1]]", "features[0][0]: the number does not fit uint8"),
        ("uint8", "[[1.0, -1]]", "features[0][1]: the number does not fit uint8"),
    ],
)
def test_fractions_and_large_floats_are_no_integers(dtype: str, features: str, place: str) -> None:
    error = refusal(dtype, f'{{"features": {features}}}')
    assert isinstance(error, BadFeatures)
    assert error.detail.startswith(place)


def test_a_large_integer_beside_1_0_is_kept_or_refused_but_never_rounded() -> None:
    large = 2**53 + 1
    try:
        array = decode("int64", [[large, 1.0]])
    except BadFeatures as error:
        assert error.detail.startswith("features[0][0]: ")
    else:
        assert array.tolist() == [[large, 1]]


def test_float_limits() -> None:
    largest = float(np.finfo(np.float32).max)
    assert decode("float32", [[largest, -largest]]).tolist() == [[largest, -largest]]
    assert isinstance(refusal("float16", '{"features": [[70000, 1]]}'), BadFeatures)
    assert decode("float16", [[65504, 1]]).tolist() == [[65504.0, 1.0]]
    assert decode("float64", [[1e308, 1e-320]]).tolist() == [[1e308, 1e-320]]


def test_booleans_are_booleans_only() -> None:
    assert_same(decode("bool", [[True, False]]), [[True, False]], "bool")
    assert refusal("bool", '{"features": [[true, 1]]}').detail == "features[0][1]: expected a boolean, got an integer."
    assert isinstance(refusal("bool", '{"features": [["true", true]]}'), BadFeatures)


def test_strings_are_utf8_bytes_and_nothing_else_is_a_string() -> None:
    texts = [["", "a\x00b"], ["naïve ☃", "\U0001f600"]]
    array = decode("string", texts)
    assert array.dtype == np.object_
    assert [[item.decode() for item in row] for row in array.tolist()] == texts
    assert refusal("string", '{"features": [["a", 1]]}').detail == "features[0][1]: expected a string, got an integer."
    assert isinstance(refusal("string", '{"features": [["a", null]]}'), BadFeatures)


TWO: tuple[TensorLike, TensorLike] = (("age", "int64", (1,)), ("text", "string", (2,)))


def decode_two(features: Any) -> Arrays:
    return codec_of(*TWO).decode(json.dumps({"features": features}).encode())


def test_several_inputs_come_by_name() -> None:
    arrays = decode_two({"text": [["a", "b"], ["c", "d"]], "age": [[1], [2.0]]})
    assert list(arrays) == ["age", "text"]
    assert_same(arrays["age"], [[1], [2]], "int64")
    assert_same(arrays["text"], [[b"a", b"b"], [b"c", b"d"]], "object")
    assert rows_of(arrays) == 2


@pytest.mark.parametrize(
    ("features", "detail"),
    [
        ({"age": [[1]]}, "The field features.text is missing."),
        ({"age": [[1]], "text": [["a", "b"], ["c", "d"]]},
         "Every input needs the same number of rows: age has 1, text has 2."),
        ({"age": [[1, 2]], "text": [["a", "b"]]}, "features.age[0] has 2 values, and the model takes 1."),
        ({"age": [[1]], "text": [["a", 1]]}, "features.text[0][1]: expected a string, got an integer."),
        ({"age": [], "text": []}, "features.age has no rows."),
        ([[1]], "features: expected an object, got a list."),
    ],
)  # fmt: skip
def test_several_inputs_are_each_checked(features: Any, detail: str) -> None:
    with pytest.raises(BadFeatures) as caught:
        decode_two(features)
    assert caught.value.detail == detail


def test_an_input_may_have_any_name() -> None:
    codec = codec_of(("class", "float32", (1,)), ("not a name!", "float32", (1,)))
    arrays = codec.decode(b'{"features": {"class": [[1]], "not a name!": [[2]]}}')
    assert arrays["class"].tolist() == [[1.0]]
    assert arrays["not a name!"].tolist() == [[2.0]]


@pytest.mark.parametrize("dtype", ["float32", "string"])
def test_a_byte_order_mark_before_the_body_is_skipped(dtype: str) -> None:
    values = [[1.0, 2.0]] if dtype == "float32" else [["ä", "b"]]
    body = json.dumps({"features": values}, ensure_ascii=False).encode()
    codec = codec_of(("x", dtype, (2,)))
    assert codec.decode(b"\xef\xbb\xbf" + body)["x"].tolist() == codec.decode(body)["x"].tolist()
