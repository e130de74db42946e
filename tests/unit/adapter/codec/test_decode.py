"""The requests of a call as one tensor for each input."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.codec.decode import Features, FeaturesParser
from adapter.errors import BadFeatures
from converter.schema import dtypes
from tests.support.fakes.entries import TensorLike, make_entry


def parser_of(*inputs: TensorLike) -> FeaturesParser:
    return FeaturesParser(make_entry(inputs=inputs))


def parsed(parser: FeaturesParser, *requests: Any) -> list[Features]:
    return [parser.parse(orjson.dumps({"features": features})) for features in requests]


def values_of(dtype: dtypes.DType) -> st.SearchStrategy[Any]:
    if dtype.json == "string":
        return st.text(max_size=4)
    if dtype.json == "boolean":
        return st.booleans()
    if dtype.json == "number":
        return st.floats(-60_000, 60_000, width=16)
    limits = np.iinfo(dtype.numpy)
    # Some as clients write them who have floats only; beside these, larger ones are refused.
    return st.integers(max(limits.min, -(2**50)), min(limits.max, 2**50)) | st.integers(0, 100).map(float)


@st.composite
def requests_of_a_call(draw: st.DrawFn) -> tuple[list[TensorLike], list[Any]]:
    """The inputs of a model, and features of as many requests as may be joined."""
    inputs = []
    for name in draw(st.sampled_from(["a", "ab"])):
        dims = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)))
        inputs.append((name, draw(st.sampled_from(dtypes.DTYPES)), dims))
    requests = []
    for rows in draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)):
        parts = {}
        for name, dtype, dims in inputs:
            part = values_of(dtype)
            for size in (*reversed(dims), rows):
                part = st.lists(part, min_size=size, max_size=size)
            parts[name] = draw(part)
        requests.append(parts if len(inputs) > 1 else parts["a"])
    return [(name, dtype.name, dims) for name, dtype, dims in inputs], requests


@settings(deadline=None, max_examples=150)
@given(call=requests_of_a_call())
def test_joined_requests_are_their_own_tensors_one_after_the_other(call: tuple[list[TensorLike], list[Any]]) -> None:
    inputs, requests = call
    parser = parser_of(*inputs)
    features = parsed(parser, *requests)
    joined = parser.to_arrays(features)
    alone = [parser.to_arrays([one]) for one in features]
    assert list(joined) == [name for name, _, _ in inputs]
    for name, dtype, dims in inputs:
        array = joined[name]
        assert array.dtype == np.dtype(dtypes.by_name(dtype).numpy)
        assert array.shape[1:] == dims
        assert array.tolist() == [row for arrays in alone for row in arrays[name].tolist()]
        rows = [row for request in requests for row in (request if len(inputs) == 1 else request[name])]
        assert array.tolist() == as_sent(rows)


def as_sent(value: Any) -> Any:
    """Text as UTF-8."""
    if isinstance(value, list):
        return [as_sent(item) for item in value]
    return value.encode() if isinstance(value, str) else value


def test_requests_of_different_types_of_numbers_are_joined() -> None:
    parser = parser_of(("x", "int64", (2,)))
    large = 2**53 + 1
    array = parser.to_arrays(parsed(parser, [[1, 2]], [[3.0, 4]], [[large, 5]]))["x"]
    assert array.dtype == np.int64
    assert array.tolist() == [[1, 2], [3, 4], [large, 5]]


@pytest.mark.parametrize(("dtype", "number"), [("float16", 70_000), ("float32", 1e39), ("int8", 128), ("int8", 1.5)])
def test_a_number_that_does_not_fit_is_found_among_joined_requests_and_named_alone(dtype: str, number: float) -> None:
    parser = parser_of(("x", dtype, (2,)))
    features = parsed(parser, [[1, 2]], [[3, 4], [5, number]], [[6, 7]])
    with pytest.raises(BadFeatures):
        parser.to_arrays(features)
    with pytest.raises(BadFeatures) as caught:
        parser.to_arrays(features[1:2])
    assert caught.value.detail.startswith("features[1][1]: ")
    assert parser.to_arrays(features[::2])["x"].tolist() == [[1, 2], [6, 7]]


@pytest.mark.parametrize(
    ("inputs", "features", "shape"),
    [
        ([("x", "float32", (-1,))], [[1, 2, 3]], (3,)),
        ([("x", "float32", (-1,))], [1, 2], (2,)),
        ([("x", "string", (-1, 2))], [[["long", "b"]]], (1, 2)),
        ([("x", "int8", (2, -1, -1))], [[[[1, 2, 3]], [[4, 5, 6]]]] * 2, (2, 1, 3)),
        ([("a", "float32", (-1,)), ("b", "bool", (1, -1))], {"b": [[[True, False]]], "a": [[1, 2, 3]]}, (3, 1, 2)),
    ],
)
def test_the_shape_of_a_row_is_that_of_every_input(inputs: Any, features: Any, shape: tuple[int, ...]) -> None:
    parser = parser_of(*inputs)
    assert parser.row_shape(parsed(parser, features)[0]) == shape
