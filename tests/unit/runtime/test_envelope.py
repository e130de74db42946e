"""What a host and the adapter say to each other: both copies write and read the same, and nothing else is taken."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.schema.packs import envelope as adapters
from triton_repo_template.runtime.host import envelope as hosts

KEY = b"0123456789abcdef0123456789abcdef"
_SIZES = st.integers(0, 2**32 - 1)

# Kind, text, tensors as shapes and values, number.
PARTS = st.lists(
    st.tuples(
        st.integers(0, 2**16 - 1),
        st.binary(max_size=20),
        st.lists(st.tuples(st.lists(_SIZES, max_size=4).map(tuple), st.binary(max_size=40)), max_size=3),
        _SIZES,
    ),
    max_size=4,
)
SOME = [(0, b"m_alone/7", [((2, 3), b"x" * 24), ((2,), b"y" * 3)], 9), (3, b"", [], 0)]


def write(module: Any, parts: Any, key: bytes = KEY) -> bytes:
    made = [
        module.Part(kind, text, [module.RawTensor(*tensor) for tensor in tensors], number)
        for kind, text, tensors, number in parts
    ]
    return bytes(module.write_envelope(made, key))


def read(module: Any, data: bytes) -> Any:
    key, parts = module.read_envelope(memoryview(data))
    return key, [
        (part.kind, part.text, [(shape, bytes(values)) for shape, values in part.tensors], part.number)
        for part in parts
    ]


@given(PARTS)
def test_both_copies_write_the_same_and_read_what_was_written(parts: Any) -> None:
    data = write(adapters, parts)
    assert write(hosts, parts) == data
    assert read(hosts, data) == read(adapters, data) == (KEY, parts)


@pytest.mark.parametrize("module", [adapters, hosts])
def test_an_envelope_that_is_cut_short_is_none(module: Any) -> None:
    data = write(adapters, SOME)
    for size in range(len(data)):
        with pytest.raises(ValueError):
            module.read_envelope(memoryview(data[:size]))


@given(st.binary(max_size=120), st.integers(0, 5))
def test_garbage_is_refused_or_read_alike(garbage: bytes, parts: int) -> None:
    data = parts.to_bytes(4, "little") + (1).to_bytes(4, "little") + KEY + garbage
    found = []
    for module in (adapters, hosts):
        with contextlib.suppress(ValueError):
            found.append(read(module, data))
    assert len(found) in (0, 2)
    assert found[:1] == found[1:]


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_one_changed_byte_raises_nothing_but_value_error(place: int, value: int) -> None:
    data = bytearray(write(adapters, SOME))
    data[place % len(data)] = value
    for module in (adapters, hosts):
        with contextlib.suppress(ValueError):
            read(module, bytes(data))


def test_words_are_the_same_on_both_sides() -> None:
    for name in ("VERSION", "KEY_BYTES", "INFER", "LOAD", "EVICT", "DESCRIBE", "OK", "FAILED", "LOADING"):
        assert getattr(hosts, name) == getattr(adapters, name)


@pytest.mark.parametrize("axes", range(5))
def test_values_begin_at_a_multiple_of_eight(axes: int) -> None:
    marked = b"\xaa" * 13
    data = write(hosts, [(0, b"text of 13 b.", [((1,) * axes, marked), ((1,), marked)], 0)])
    first = data.index(marked)
    assert (first % 8, data.index(marked, first + 1) % 8, len(data) % 8) == (0, 0, 0)


@given(st.lists(_SIZES, max_size=4).map(tuple), st.binary(max_size=40), _SIZES)
def test_a_lone_answer_is_written_as_any_other(shape: Any, values: bytes, number: int) -> None:
    tensor = hosts.RawTensor(shape, values)
    for _ in range(2):
        assert hosts.write_lone_answer(tensor, number) == hosts.write_envelope(
            [hosts.Part(hosts.OK, b"", [tensor], number)]
        )
