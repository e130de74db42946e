"""What holds for any array and for any bytes."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.extra.numpy as arrays_of
import numpy as np
import numpy.typing as npt
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.errors import AdapterError
from converter.schema import dtypes
from tests.support.codecs import Coded
from tests.support.fakes.entries import make_entry

NUMERIC = [dtype.name for dtype in dtypes.DTYPES if dtype.json != "string"]
SHAPES = st.one_of(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
)


def echo_codec(dtype: str, dims: tuple[int, ...]) -> Coded:
    """Input and output alike, so that an answer's predictions are features again."""
    return Coded(make_entry(inputs=[("x", dtype, dims)], outputs=[("x", dtype, dims)]))


def round_trip(dtype: str, array: npt.NDArray[Any]) -> Any:
    codec = echo_codec(dtype, array.shape[1:])
    codec.check({"x": array}, len(array))
    answer = orjson.loads(codec.encode({"x": array}))
    return codec.decode(orjson.dumps({"features": answer["predictions"]}))["x"]


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(NUMERIC), shape=SHAPES)
def test_what_is_written_is_read_back_bit_for_bit(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    elements = arrays_of.from_dtype(np.dtype(dtype)).filter(np.isfinite)
    array = data.draw(arrays_of.arrays(dtype, shape, elements=elements))
    back = round_trip(dtype, array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@settings(deadline=None)
@given(rows=st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.text(), min_size=n, max_size=n), min_size=1)))
def test_any_text_is_read_back(rows: list[list[str]]) -> None:
    encoded = [[item.encode() for item in row] for row in rows]
    array = np.empty((len(rows), len(rows[0])), dtype=object)
    array[:] = encoded
    assert round_trip("string", array).tolist() == encoded


@settings(deadline=None)
@given(array=arrays_of.arrays(np.float32, (2, 3)))
def test_with_non_finite_null_any_float_gives_valid_json(array: npt.NDArray[Any]) -> None:
    codec = Coded(make_entry(outputs=[("y", "float32", (3,))], non_finite=None))
    answer = json.loads(codec.encode({"y": array}), parse_constant=pytest.fail)
    for wanted, got in zip(array.ravel().tolist(), np.ravel(answer["predictions"]).tolist(), strict=True):
        assert got is None if not np.isfinite(wanted) else np.float32(got) == np.float32(wanted)


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.integers(-(2**70), 2**70)
)
NESTED: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=20,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    NESTED.map(lambda value: json.dumps({"features": value}).encode()),
    NESTED.map(lambda value: json.dumps(value).encode()),
    # A valid body with one byte of it changed.
    st.tuples(st.integers(0, 200), st.integers(0, 255)).map(
        lambda at: (
            (body := bytearray(b'{"features": [[1.5, 2], [3, 4e0]]}')).__setitem__(at[0] % len(body), at[1])
            or bytes(body)
        )
    ),
)
CODECS = [
    *(echo_codec(dtype, (2,)) for dtype in ("float32", "float16", "int64", "uint64", "uint8", "bool", "string")),
    echo_codec("float64", (-1, -1)),
    echo_codec("int32", (-1,)),
    Coded(make_entry(inputs=[("a", "int8", (1,)), ("b", "string", (-1,))])),
]


@settings(deadline=None, max_examples=500)
@given(body=BODIES)
def test_any_bytes_are_arrays_or_an_adapter_error(body: bytes) -> None:
    for codec in CODECS:
        try:
            arrays = codec.decode(body)
        except AdapterError as error:
            assert 0 < len(error.detail.encode()) <= 1024
        else:
            for array in arrays.values():
                assert len(array) >= 1
                assert array.dtype.kind != "f" or np.isfinite(array).all()
