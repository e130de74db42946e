"""Packed strings: what crosses, byte for byte, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.schema import packed_strings
from converter.schema.packed_strings import pack_strings, unpack_strings
from triton_repo_template.runtime import packed_strings as runtimes_copy


def strings(items: list[bytes | None], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.fromiter(items, object, len(items)).reshape(shape)


def test_the_bytes_of_all_strings_stand_in_order_and_are_filled_up_to_whole_rows() -> None:
    packed, lengths = pack_strings(strings(["ä".encode(), None, b"bcd", b""], (2, 2)))
    assert (packed.dtype, packed.tolist()) == (np.dtype(np.uint8), [[0xC3, 0xA4, 98], [99, 100, 0]])
    assert (lengths.dtype, lengths.tolist()) == (np.dtype(np.int32), [[2, -1], [3, 0]])
    # As it is handed on, under numpy 2 too.
    assert packed.flags.carray and lengths.flags.carray


@pytest.mark.parametrize("items", [[b"", b""], [None, None]])
def test_without_a_byte_the_width_is_one(items: list[bytes | None]) -> None:
    packed, _ = pack_strings(strings(items, (2, 1)))
    assert packed.tolist() == [[0], [0]]


@given(items=st.lists(st.none() | st.binary(max_size=30), max_size=12), columns=st.integers(1, 3))
def test_what_is_packed_comes_back(items: list[bytes | None], columns: int) -> None:
    array = strings(items * columns, (len(items), columns))
    packed, lengths = pack_strings(array)
    back = unpack_strings(packed, lengths)
    assert packed.shape[0] == len(items) and packed.shape[1] >= 1
    assert (back.dtype, back.shape, back.tolist()) == (np.dtype(object), array.shape, array.tolist())


def test_other_layouts_are_read_and_more_zeros_than_needed_do_not_matter() -> None:
    packed = np.asfortranarray(np.array([[97, 98, 0], [99, 0, 0]], np.uint8))
    assert unpack_strings(packed, np.array([[2], [0]], np.int32)).tolist() == [[b"ab"], [b""]]
    assert unpack_strings(packed, np.array([1, 3], np.int32)).tolist() == [b"a", b"b\0c"]


@pytest.mark.parametrize("lengths", [[3], [-2], [2**31 - 1], [2, 1], [2**31 - 1] * 3, [-1, 3]])
def test_lengths_that_do_not_fit_are_a_value_error(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="the lengths of its strings do not fit its 2 bytes"):
        unpack_strings(np.array([[97, 98]], np.uint8), np.array([lengths], np.int32))


def test_the_runtimes_copy_is_the_same() -> None:
    assert Path(runtimes_copy.__file__).read_bytes() == Path(packed_strings.__file__).read_bytes()
