"""Triton's raw tensors: the same bytes as the vendor's own client writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from adapter.backend.raw_tensors import from_raw, pack_tensors, to_raw, unpack_tensors
from converter.schema import dtypes
from tests.support.fakes.entries import tensor


def text_array(items: list[bytes], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


@settings(deadline=None)
@given(items=st.lists(st.binary(max_size=20), max_size=12))
def test_strings_are_laid_out_as_the_vendors_client_does(items: list[bytes]) -> None:
    array = text_array(items, (len(items), 1))
    raw = to_raw(array)
    assert raw == (serialize_byte_tensor(array).item() if items else b"")
    assert deserialize_bytes_tensor(raw).tolist() == items
    back = from_raw(raw, dtypes.by_name("string"), (len(items), 1))
    assert back.shape == (len(items), 1)
    assert back.ravel().tolist() == items


@pytest.mark.parametrize("dtype", [dtype for dtype in dtypes.DTYPES if dtype.json != "string"], ids=lambda d: d.name)
def test_numbers_are_little_endian_in_row_order(dtype: dtypes.DType) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype.numpy)
    raw = to_raw(array)
    assert raw == array.astype(np.dtype(dtype.numpy).newbyteorder("<")).tobytes()
    assert to_raw(np.asfortranarray(array)) == raw
    back = from_raw(raw, dtype, (2, 3))
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()


def test_a_missing_string_is_the_byte_that_no_utf8_has() -> None:
    assert to_raw(text_array([None, b"", b"a"], (3, 1))) == b"\x01\0\0\0\xff\0\0\0\0\x01\0\0\0a"  # type: ignore[list-item]


def test_a_part_of_an_array_is_sent_alone() -> None:
    array = np.arange(6, dtype=np.int32).reshape(3, 2)
    assert to_raw(array[1:2]) == b"\x02\0\0\0\x03\0\0\0"
    assert to_raw(text_array([b"a", b"b"], (2, 1))[1:]) == b"\x01\0\0\0b"


@pytest.mark.parametrize(
    ("raw", "name", "shape"),
    [
        (b"\0" * 7, "float32", (1, 2)),
        (b"\0" * 8, "float32", (1, 3)),
        (b"\0" * 8, "float32", (1, 1)),
        (b"", "int64", (1, 1)),
        (b"\x05\0\0\0abc", "string", (1, 1)),
        (b"\x05\0", "string", (1, 1)),
        (b"\x01\0\0\0a\xff\xff\xff\xff", "string", (2, 1)),
        (b"\x01\0\0\0a", "string", (2, 1)),
        (b"", "string", (1, 1)),
    ],
)
def test_bytes_that_do_not_fill_the_shape_are_a_value_error(raw: bytes, name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_raw(raw, dtypes.by_name(name), shape)


TENSORS = (tensor(("x", "float32", (1,))), tensor(("text", "string", (1,))))
ARRAYS = {"x": np.ones((2, 1), np.float32), "text": text_array([b"abc", b""], (2, 1))}


def test_strings_are_packed_and_the_rest_is_as_it_was() -> None:
    packed = pack_tensors(TENSORS, ARRAYS)
    assert list(packed) == ["x", "text.bytes", "text.lengths"]
    assert packed["x"] is ARRAYS["x"]
    assert packed["text.bytes"].tolist() == [[97, 98], [99, 0]]
    assert packed["text.lengths"].tolist() == [[3], [0]]
    assert unpack_tensors(TENSORS, packed)["text"].tolist() == [[b"abc"], [b""]]


@pytest.mark.parametrize(
    ("lengths", "said"), [([[3], [-1]], "text holds None"), ([[3], [2]], "do not fit its 4 bytes")]
)
def test_strings_that_are_not_whole_are_a_value_error(lengths: list[list[int]], said: str) -> None:
    packed = {**pack_tensors(TENSORS, ARRAYS), "text.lengths": np.array(lengths, np.int32)}
    with pytest.raises(ValueError, match=said):
        unpack_tensors(TENSORS, packed)
