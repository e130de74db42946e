"""An envelope that is known but for its values, its key and its number."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from converter.schema.packs.envelope import KEY_BYTES, OK, ExpectedPart, Part, RawTensor, write_envelope

SHAPES = st.lists(st.lists(st.integers(0, 4), min_size=0, max_size=3).map(tuple), min_size=0, max_size=3)


@given(
    shapes=SHAPES, text=st.binary(max_size=9), number=st.integers(0, 2**32 - 1), key=st.binary(min_size=32, max_size=32)
)
def test_its_number_and_its_values_are_found(
    shapes: list[tuple[int, ...]], text: bytes, number: int, key: bytes
) -> None:
    values = [bytes([i + 1]) * (3 * math.prod(shape)) for i, shape in enumerate(shapes)]
    tensors = [RawTensor(shape, raw) for shape, raw in zip(shapes, values, strict=True)]
    expected = ExpectedPart(OK, text, [(shape, len(raw)) for shape, raw in zip(shapes, values, strict=True)])
    written = write_envelope([Part(OK, text, tensors, number)], key)
    assert expected.find_number(written) == number
    for place, raw in zip(expected.places, values, strict=False):
        assert written[place : place + len(raw)] == raw


def test_whatever_else_differs_makes_it_another_one() -> None:
    tensors = [RawTensor((2, 3), b"abcdef"), RawTensor((1,), b"g")]
    expected = ExpectedPart(OK, b"text", [((2, 3), 6), ((1,), 1)])
    written = write_envelope([Part(OK, b"text", tensors, 7)])
    number_at = 8 + KEY_BYTES + 12
    any_byte = {
        *range(8, 8 + KEY_BYTES),
        *range(number_at, number_at + 4),
        *range(expected.places[0], expected.places[0] + 6),
        expected.places[1],
    }
    for i in range(len(written)):
        changed = written[:i] + bytes([written[i] ^ 1]) + written[i + 1 :]
        assert (expected.find_number(changed) is not None) == (i in any_byte), i
    assert expected.find_number(written[:-1]) is None
    assert expected.find_number(written + b"\0") is None
    assert expected.find_number(b"") is None
